// A U-Net by Winograd's algorithm. The image is [C, H, W], the votes are [1, 3k, h, w].
#include "../../csrc/cpu/winograd_unet.h"

#include <thread>

#include "maps.h"

namespace dvfast::test {

void define_winograd_unet(py::module_& m) {
  // All threads at once; or one after the other, the last first, which does it all. The workspace
  // ends where it must not be passed.
  m.def("winograd_unet", [](const py::array& image, const py::array& rows, const py::array& columns,
                            const Arrays& weights, const Arrays& biases,
                            const std::vector<int64_t>& inputs, const std::vector<int64_t>& widths,
                            int64_t finest, const py::array& votes, int64_t threads, bool at_once) {
    const auto pixels = Array<const float>::of(image);
    WinogradUnetParams params{};
    params.image = {pixels.data(),
                    image.shape(0),
                    pixels.stride(0),
                    pixels.stride(1),
                    pixels.stride(2),
                    Array<const int64_t>::of(rows).data(),
                    Array<const int64_t>::of(columns).data()};
    params.height = rows.size();
    params.width = columns.size();
    params.levels = static_cast<int64_t>(widths.size());
    params.finest = finest;
    std::copy(widths.begin(), widths.end(), params.widths);
    for (size_t i = 0; i < weights.size(); ++i)
      params.layers[i] = packed_layer(weights[i], biases[i], inputs[i]);
    params.votes = votes_view<float>(votes);
    WinogradUnet unet(params, threads);
    const std::unique_ptr<float[]> workspace(new float[unet.workspace()]);
    unet.run(workspace.get(), [&](const auto& f) {
      std::vector<std::thread> others;
      for (int64_t i = 0; i < threads; ++i) {
        if (at_once)
          others.emplace_back(f, i);
        else
          f(threads - 1 - i);
      }
      for (std::thread& other : others) other.join();
    });
    return unet.workspace();
  });
}

}  // namespace dvfast::test
