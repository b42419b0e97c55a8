// The vector type of one instruction set. No include guard: each version of the kernels has its
// own, in its own namespace; see ../each_instruction_set.h.
//
// kMaxPixels x kVectors accumulators, kVectors weights and one input fill the registers.

#if DVFAST_VECTOR_BITS == 512

struct Simd {
  using Vector = __m512;
  static constexpr int kLanes = 16, kVectors = 2, kMaxPixels = 14;
  static DVFAST_INLINE Vector zero() { return _mm512_setzero_ps(); }
  static DVFAST_INLINE Vector load(const float* p) { return _mm512_loadu_ps(p); }
  static DVFAST_INLINE Vector broadcast(float x) { return _mm512_set1_ps(x); }
  static DVFAST_INLINE void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
  static DVFAST_INLINE Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static DVFAST_INLINE Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
  static DVFAST_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  // The instruction returns its second operand if one of them is NaN.
  static DVFAST_INLINE Vector rectify(Vector x) { return _mm512_max_ps(zero(), x); }
  static DVFAST_INLINE Vector pool(Vector a, Vector b) {
    return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
  }
};

#elif DVFAST_VECTOR_BITS == 256

struct Simd {
  using Vector = __m256;
  static constexpr int kLanes = 8, kVectors = 2, kMaxPixels = 6;
  static DVFAST_INLINE Vector zero() { return _mm256_setzero_ps(); }
  static DVFAST_INLINE Vector load(const float* p) { return _mm256_loadu_ps(p); }
  static DVFAST_INLINE Vector broadcast(float x) { return _mm256_set1_ps(x); }
  static DVFAST_INLINE void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
  static DVFAST_INLINE Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  static DVFAST_INLINE Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
  static DVFAST_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  static DVFAST_INLINE Vector rectify(Vector x) { return _mm256_max_ps(zero(), x); }
  static DVFAST_INLINE Vector pool(Vector a, Vector b) {
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  }
};

#else

struct Simd {
  static constexpr int kLanes = 4, kVectors = 4, kMaxPixels = 2;
  struct Vector {
    float lane[kLanes];
  };
  static DVFAST_INLINE Vector zero() { return broadcast(0.0f); }
  static DVFAST_INLINE Vector load(const float* p) {
    Vector v;
    std::memcpy(v.lane, p, sizeof(v.lane));
    return v;
  }
  static DVFAST_INLINE Vector broadcast(float x) { return {{x, x, x, x}}; }
  static DVFAST_INLINE void store(float* p, Vector v) { std::memcpy(p, v.lane, sizeof(v.lane)); }
  static DVFAST_INLINE Vector add(Vector a, Vector b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] += b.lane[i];
    return a;
  }
  static DVFAST_INLINE Vector subtract(Vector a, Vector b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] -= b.lane[i];
    return a;
  }
  static DVFAST_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
    for (int i = 0; i < kLanes; ++i)
      c.lane[i] = fused_multiply_add(a.lane[i], b.lane[i], c.lane[i]);
    return c;
  }
  static DVFAST_INLINE Vector rectify(Vector x) {
    for (int i = 0; i < kLanes; ++i) x.lane[i] = dvfast::rectify(x.lane[i]);
    return x;
  }
  static DVFAST_INLINE Vector pool(Vector a, Vector b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] = dvfast::pool(a.lane[i], b.lane[i]);
    return a;
  }
};

#endif
