// The torch-free kernels for NumPy. Functions of a type carry its name: scatter_votes_float32.
// Here: the formulas of csrc/core, elementwise, and the kernels over blocks of patches.
#include "../../csrc/core/arithmetic.h"
#include "../../csrc/core/fixed_point.h"
#include "../../csrc/core/gaussian.h"
#include "../../csrc/core/hybrid.h"
#include "../../csrc/core/targets.h"
#include "../../csrc/cpu/hybrid_activation.h"
#include "../../csrc/cpu/patches.h"
#include "../../csrc/cpu/voting_loss.h"
#include "arrays.h"

namespace dvfast::test {
namespace {

template <typename T>
void define_real(py::module_& m, const std::string& type) {
  m.def(("exponential_" + type).c_str(), py::vectorize([](T x) { return exponential(x); }));
  m.def(("sigmoid_" + type).c_str(), py::vectorize([](T x) { return sigmoid(x); }));
  m.def(("gaussian_" + type).c_str(),
        py::vectorize([](T distance, double sigma) { return make_gaussian<T>(sigma)(distance); }));
  m.def(("gaussian_derivative_" + type).c_str(), py::vectorize([](T distance, double sigma) {
          return make_gaussian<T>(sigma).derivative(distance);
        }));
  m.def(("target_confidence_" + type).c_str(), py::vectorize([](T length, T r1, T r2, T beta) {
          return target_confidence(length, VotingRange<T>{r1, r2, beta});
        }));
  m.def(("landing_whole_" + type).c_str(),
        py::vectorize([](T fraction, T offset) { return displacement(fraction, offset).whole; }));
  m.def(("landing_fraction_" + type).c_str(), py::vectorize([](T fraction, T offset) {
          return displacement(fraction, offset).fraction;
        }));
  m.def(("nearest_" + type).c_str(), py::vectorize([](T fraction, T offset) {
          const Displacement<T> landing = displacement(fraction, offset);
          return landing.whole + nearest_step(landing);
        }));
  m.def(("to_fixed_" + type).c_str(), py::vectorize([](T value) { return to_fixed(value); }));
  m.def(("from_fixed_" + type).c_str(),
        py::vectorize([](int64_t value) { return from_fixed<T>(value); }));
}

template <typename Half>
void define_half(py::module_& m, const std::string& type) {
  m.def((type + "_to_float").c_str(),
        py::vectorize([](uint16_t bits) { return to_compute(Half{bits}); }));
  m.def((type + "_from_float").c_str(),
        py::vectorize([](float value) { return FromCompute<Half>::convert(value).bits; }));
}

template <typename T>
void define_hybrid(py::module_& m, const std::string& type) {
  m.def(("hybrid_activation_" + type).c_str(),
        [](const py::array& input, const py::array& output, int64_t begin, int64_t end) {
          hybrid_activation<T>({votes_view<const T>(input), votes_view<T>(output)}, begin, end);
        });
  m.def(("hybrid_activation_backward_" + type).c_str(),
        [](const py::array& grad_output, const py::array& output, const py::array& grad_input,
           int64_t begin, int64_t end) {
          hybrid_activation_backward<T>({votes_view<const T>(grad_output),
                                         votes_view<const T>(output), votes_view<T>(grad_input)},
                                        begin, end);
        });
  m.def(("hybrid_activation_double_backward_" + type).c_str(),
        [](const py::array& outer, const py::array& grad_output, const py::array& output,
           const py::array& grad, int64_t begin, int64_t end) {
          hybrid_activation_double_backward<T>(
              {votes_view<const T>(outer), votes_view<const T>(grad_output),
               votes_view<const T>(output), votes_view<T>(grad)},
              begin, end);
        });
}

template <typename T>
void define_loss_backward(py::module_& m, const std::string& type) {
  m.def(("voting_loss_backward_" + type).c_str(),
        [](const py::array& gradient, const py::array& grad_input, const py::array& grad_output,
           int64_t begin, int64_t end) {
          voting_loss_backward<T>({votes_view<const T>(gradient), votes_view<T>(grad_input),
                                   map_view<const T>(grad_output)},
                                  begin, end);
        });
}

template <typename T, typename Target>
void define_loss(py::module_& m, const std::string& type, const std::string& target_type) {
  m.def(("voting_loss_" + type + "_" + target_type).c_str(),
        [](const py::array& logits, const py::array& target,
           const std::optional<py::array>& gradient, const std::optional<py::array>& patch_loss,
           const py::array& block_loss, double lambda, int64_t begin, int64_t end) {
          VotingLossParams<T, Target> params{};
          params.logits = votes_view<const T>(logits);
          params.target = votes_view<const Target>(target);
          if (gradient) params.gradient = votes_view<compute_t<T>>(*gradient);
          params.patch_loss = data_or_null<compute_t<T>>(patch_loss);
          params.block_loss = Array<double>::of(block_loss).data();
          params.lambda = lambda;
          voting_loss<T, Target>(params, begin, end);
        });
}

}  // namespace

PYBIND11_MODULE(dvfast_kernels, m) {
  define_real<float>(m, "float32");
  define_real<double>(m, "float64");
  define_half<bfloat16>(m, "bfloat16");
  define_half<float16>(m, "float16");
  m.def("confidence_limit", &confidence_limit);
  define_hybrid<float>(m, "float32");
  define_hybrid<double>(m, "float64");
  define_hybrid<bfloat16>(m, "bfloat16");
  define_hybrid<float16>(m, "float16");
  define_loss_backward<float>(m, "float32");
  define_loss_backward<double>(m, "float64");
  define_loss<float, float>(m, "float32", "float32");
  define_loss<double, double>(m, "float64", "float64");
  define_loss<bfloat16, bfloat16>(m, "bfloat16", "bfloat16");
  define_loss<bfloat16, float>(m, "bfloat16", "float32");
  define_loss<float16, float16>(m, "float16", "float16");
  define_loss<float16, float>(m, "float16", "float32");
  m.def("num_blocks", &num_blocks);
  define_votes(m);
  define_network(m);
  define_winograd(m);
  define_winograd_convolution(m);
  define_winograd_unet(m);
  define_bfloat16(m);
  define_ordered_work(m);
}

}  // namespace dvfast::test
