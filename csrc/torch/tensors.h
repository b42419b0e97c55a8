// Tensors to views, with the checks that every operator makes. An error names the argument, what
// came, and what was expected.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

#include "../core/half.h"
#include "../core/landing.h"
#include "../core/views.h"
#include "../core/vote.h"
#include "check.h"

namespace dvfast {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline const char* dtype_name(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::Long: return "int64";
    case ScalarType::Int: return "int32";
    case ScalarType::Byte: return "uint8";
    case ScalarType::Bool: return "bool";
    default: return "another dtype";
  }
}

inline std::string describe(const Tensor& tensor) {
  std::ostringstream out;
  out << dtype_name(tensor.scalar_type()) << " [";
  for (int64_t i = 0; i < tensor.dim(); ++i) out << (i ? ", " : "") << tensor.size(i);
  out << "]";
  return out.str();
}

// Torch's own words for why it makes no tensor do not come through its C interface.
template <typename Allocate>
Tensor allocated(torch::headeronly::IntHeaderOnlyArrayRef sizes, const Allocate& allocate) {
  try {
    return allocate();
  } catch (const std::exception&) {
    std::ostringstream out;
    for (size_t i = 0; i < sizes.size(); ++i) out << (i ? ", " : "") << sizes[i];
    refuse("torch makes no tensor of [", out.str(), "]; there may be not enough memory");
  }
}

inline Tensor allocate(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes,
                       std::optional<ScalarType> dtype = std::nullopt) {
  return allocated(sizes, [&] { return torch::stable::new_empty(like, sizes, dtype); });
}

inline Tensor allocate_zeros(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes,
                             std::optional<ScalarType> dtype = std::nullopt) {
  return allocated(sizes, [&] { return torch::stable::new_zeros(like, sizes, dtype); });
}

// With the order of its axes in memory.
inline Tensor allocate_like(const Tensor& like, std::optional<ScalarType> dtype = std::nullopt) {
  return allocated(like.sizes(), [&] {
    using torch::stable::detail::from;
    // torch::stable::empty_like takes no dtype.
    std::array<StableIValue, 6> stack{from(like),         from(dtype),        from(std::nullopt),
                                      from(std::nullopt), from(std::nullopt), from(std::nullopt)};
    TORCH_ERROR_CODE_CHECK(aoti_torch_call_dispatcher("aten::empty_like", "", stack.data()));
    return torch::stable::detail::to<Tensor>(stack[0]);
  });
}

inline void check_dtype(const Tensor& tensor, const char* name,
                        std::initializer_list<ScalarType> allowed) {
  std::string expected;
  for (ScalarType dtype : allowed) {
    if (tensor.scalar_type() == dtype) return;
    expected += (expected.empty() ? "" : ", ") + std::string(dtype_name(dtype));
  }
  refuse(name, " must be one of ", expected, ", got ", describe(tensor));
}

inline void check_same_shape(const Tensor& tensor, const char* name, const Tensor& like,
                             const char* like_name) {
  bool same = tensor.dim() == like.dim();
  for (int64_t i = 0; same && i < like.dim(); ++i) same = tensor.size(i) == like.size(i);
  DVFAST_CHECK(same, name, " must have the shape of ", like_name, ": got ", describe(tensor),
               " for ", describe(like));
}

inline void check_same_device(const Tensor& tensor, const char* name, const Tensor& like,
                              const char* like_name) {
  DVFAST_CHECK(tensor.device() == like.device(), name, " must be on the device of ", like_name);
}

inline int64_t check_channels(const Tensor& tensor, const char* name) {
  const int64_t channels = tensor.size(1);
  DVFAST_CHECK(channels % kChannelsPerVote == 0, name,
               " must have 3k channels in dimension 1 (confidence, offset y and offset x of each "
               "vote), got ",
               describe(tensor));
  return channels / kChannelsPerVote;
}

// [N, 3k], [B, 3k, L] or [B, 3k, H, W].
template <typename T>
VotesView<T> patches_view(const Tensor& tensor, const char* name) {
  DVFAST_CHECK(tensor.dim() >= 2 && tensor.dim() <= 4, name,
               " must be [N, 3k], [B, 3k, L] or [B, 3k, H, W], got ", describe(tensor));
  VotesView<T> view{};
  view.data = static_cast<T*>(tensor.data_ptr());
  view.num_votes = check_channels(tensor, name);
  view.channel_stride = tensor.stride(1);
  view.batch = tensor.size(0);
  view.batch_stride = tensor.stride(0);
  view.height = view.width = 1;
  if (tensor.dim() >= 3) {
    view.width = tensor.size(tensor.dim() - 1);
    view.x_stride = tensor.stride(tensor.dim() - 1);
  }
  if (tensor.dim() == 4) {
    view.height = tensor.size(2);
    view.y_stride = tensor.stride(2);
  }
  return view;
}

template <typename T>
VotesView<T> votes_view(const Tensor& tensor, const char* name) {
  DVFAST_CHECK(tensor.dim() == 4, name, " must be [B, 3k, h, w], got ", describe(tensor));
  return patches_view<T>(tensor, name);
}

template <typename T>
MapView<T> map_view(const Tensor& tensor, const char* name) {
  DVFAST_CHECK(tensor.dim() == 3, name, " must be [B, H, W], got ", describe(tensor));
  return {static_cast<T*>(tensor.data_ptr()),
          tensor.size(0),
          tensor.size(1),
          tensor.size(2),
          tensor.stride(0),
          tensor.stride(1),
          tensor.stride(2)};
}

// Merges axes that all views step through evenly: long runs are what the pointwise kernels like.
template <typename First, typename... Views>
void merge_axes(First& first, Views&... views) {
  const auto even_rows = [](const auto& view) {
    return view.height == 1 || view.y_stride == view.width * view.x_stride;
  };
  const auto even_images = [](const auto& view) {
    return view.batch == 1 || view.batch_stride == view.width * view.x_stride;
  };
  const auto move_up = [](auto& view) {
    view.width = view.height;
    view.x_stride = view.y_stride;
    view.height = 1;
  };
  const auto merge_rows = [](auto& view) {
    view.width *= view.height;
    view.height = 1;
  };
  const auto merge_images = [](auto& view) {
    view.width *= view.batch;
    view.batch = 1;
  };
  const auto lift_images = [](auto& view) {
    view.width = view.batch;
    view.x_stride = view.batch_stride;
    view.batch = 1;
  };
  if (first.width == 1) {
    move_up(first);
    (move_up(views), ...);
  } else if ((even_rows(first) && ... && even_rows(views))) {
    merge_rows(first);
    (merge_rows(views), ...);
  }
  if (first.height != 1) return;
  if (first.width == 1) {
    lift_images(first);
    (lift_images(views), ...);
  } else if ((even_images(first) && ... && even_images(views))) {
    merge_images(first);
    (merge_images(views), ...);
  }
}

// Of so many voters.
template <typename T>
GridAxis<T> grid_axis(int64_t stride, double offset, int64_t length) {
  // The last is no further than integers go, wherever the first is.
  const int64_t most = std::numeric_limits<int64_t>::max() / 4 / std::max<int64_t>(length, 1);
  DVFAST_CHECK(stride >= 1 && stride <= most, "stride must be between 1 and ", most, " for ",
               length, " votes in a line, got ", stride);
  DVFAST_CHECK(std::abs(offset) <= kFarthestLanding, "offset must be finite, got ", offset);
  const double base = std::floor(offset);
  return {stride, static_cast<int64_t>(base), static_cast<T>(offset - base)};
}

// Calls body with a value of the C++ type that the dtype is stored as.
template <typename Body>
auto with_real_type(const Tensor& tensor, const char* name, const Body& body) {
  check_dtype(tensor, name, {ScalarType::Float, ScalarType::Double});
  return tensor.scalar_type() == ScalarType::Float ? body(float{}) : body(double{});
}

template <typename Body>
auto with_floating_type(const Tensor& tensor, const char* name, const Body& body) {
  check_dtype(tensor, name,
              {ScalarType::Float, ScalarType::Double, ScalarType::BFloat16, ScalarType::Half});
  switch (tensor.scalar_type()) {
    case ScalarType::Double: return body(double{});
    case ScalarType::BFloat16: return body(bfloat16{});
    case ScalarType::Half: return body(float16{});
    default: return body(float{});
  }
}

}  // namespace dvfast
