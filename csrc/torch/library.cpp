// The operators' schemas: the one place that says what torch.ops.dvfast offers. Enumerations travel
// as integers, and an absent limit as 1e30; dvfast/functional/ is the public face.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(dvfast, m) {
  m.def("hybrid_activation(Tensor logits) -> Tensor");
  m.def("hybrid_activation_backward(Tensor grad_output, Tensor output) -> Tensor");
  m.def(
      "hybrid_activation_double_backward(Tensor grad_grad_input, Tensor grad_output, "
      "Tensor output) -> Tensor");
  m.def(
      "voting_loss(Tensor logits, Tensor target, float lam, bool per_patch, bool with_gradient)"
      " -> (Tensor loss, Tensor gradient)");
  m.def("voting_loss_backward(Tensor grad_output, Tensor gradient) -> Tensor");
  m.def(
      "vote_targets(Tensor points, Tensor splits, SymInt height, SymInt width, int num_votes, "
      "float r1, float r2, float beta, int stride, float offset_y, float offset_x) -> Tensor");
  m.def(
      "vote_map(Tensor votes, SymInt height, SymInt width, int stride, float offset_y, "
      "float offset_x, float max_offset, int interpolation) -> (Tensor map, Tensor num_void)");
  m.def(
      "vote_map_backward(Tensor grad, Tensor votes, int stride, float offset_y, float offset_x, "
      "float max_offset, int interpolation) -> Tensor");
  m.def(
      "vote_density(Tensor votes, SymInt height, SymInt width, float sigma, int window, "
      "int stride, float offset_y, float offset_x, float max_offset, int interpolation)"
      " -> (Tensor density, Tensor num_void)");
  m.def(
      "vote_density_backward(Tensor grad, Tensor votes, float sigma, int window, int stride, "
      "float offset_y, float offset_x, float max_offset, int interpolation) -> Tensor");
  m.def(
      "parzen_density(Tensor votes, SymInt height, SymInt width, float sigma, int window, "
      "int stride, float offset_y, float offset_x, float radius, int area)"
      " -> (Tensor density, Tensor num_void)");
  m.def(
      "parzen_density_backward(Tensor grad, Tensor votes, float sigma, int window, int stride, "
      "float offset_y, float offset_x, float radius, int area) -> Tensor");
  m.def("find_peaks(Tensor density, float threshold, bool relative, int min_distance) -> Tensor");
  m.def(
      "find_first_peaks(Tensor density, float threshold, bool relative, int min_distance, "
      "int capacity) -> (Tensor points, Tensor count)");
  m.def(
      "density_peaks(Tensor votes, SymInt height, SymInt width, float sigma, int window, "
      "int stride, float offset_y, float offset_x, float max_offset, int interpolation, "
      "float scale, float threshold, bool relative, int min_distance, int capacity)"
      " -> (Tensor density, Tensor points, Tensor count, Tensor num_void)");

  // The scan engine, on maps [B, h, w, C] and packed weights: see csrc/core/network.h.
  m.def(
      "trunk_layer(Tensor features, Tensor weight, Tensor bias, int kernel_size, int dilation, "
      "int pool_stride, int pool_dilation) -> Tensor");
  m.def(
      "vote_head(Tensor features, Tensor[] weights, Tensor[] biases, int num_votes, "
      "int kernel_size, int dilation, int stride) -> Tensor");
  m.def(
      "winograd_head(Tensor features, Tensor weight, Tensor bias, Tensor last_weight, "
      "Tensor last_bias, int num_votes, int dilation) -> Tensor");
  m.def(
      "winograd_unet(Tensor image, Tensor rows, Tensor columns, Tensor[] weights, Tensor[] biases, "
      "int[] widths, int finest, int num_votes) -> Tensor");
  m.def(
      "bfloat16_trunk_layer(Tensor features, Tensor weight, Tensor bias, int kernel_size, "
      "int dilation, int pool_stride, int pool_dilation) -> Tensor");
  m.def(
      "bfloat16_head(Tensor features, Tensor weight, Tensor bias, Tensor last_weight, "
      "Tensor last_bias, int num_votes, int kernel_size, int dilation, int stride) -> Tensor");
  m.def(
      "matrix_trunk_layer(Tensor features, Tensor weight, Tensor bias, int kernel_size, "
      "int dilation, int pool_stride, int pool_dilation, int precision) -> Tensor");
  m.def(
      "matrix_vote_head(Tensor features, Tensor weight, Tensor bias, Tensor last_weight, "
      "Tensor last_bias, int num_votes, int kernel_size, int dilation, int stride, int precision)"
      " -> Tensor");
  m.def(
      "warpgroup_vote_head(Tensor features, Tensor weight, Tensor bias, Tensor last_weight, "
      "Tensor last_bias, int num_votes, int kernel_size, int dilation, int precision) -> Tensor");
}
