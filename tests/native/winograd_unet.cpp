// A U-Net by Winograd's algorithm. The image is [C, H, W], the votes are [1, 3k, h, w].
#include "../../csrc/cpu/winograd_unet.h"

#include "maps.h"

namespace dvfast::test {

void define_winograd_unet(py::module_& m) {
  // Pieces of the work in turn, or the last first. The workspace ends where it must not be passed.
  m.def("winograd_unet",
        [](const py::array& image, const py::array& rows, const py::array& columns,
           const Arrays& weights, const Arrays& biases, const std::vector<int64_t>& inputs,
           const std::vector<int64_t>& widths, int64_t finest, const py::array& votes,
           int64_t threads, bool backwards) {
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
          const auto in_turn = [&](int64_t total, const auto& f) {
            for (int64_t i = 0; i < total; ++i) f(backwards ? total - 1 - i : i);
          };
          unet.run(workspace.get(), in_turn);
          return unet.workspace();
        });
}

}  // namespace dvfast::test
