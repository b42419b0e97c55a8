// The transforms of F(4x4, 5x5) along one axis, for the points 0, +-1, +-2, +-1/2 and infinity; see
// ../../core/winograd.h. The weights' transform is made once, in float64, where they are packed.
// No include guard; see ../each_instruction_set.h.

// Eight inputs to eight factors: the transposed B of the algorithm.
DVFAST_INLINE void winograd_input(const Simd::Vector (&x)[kWinogradInputs],
                                  Simd::Vector (&y)[kWinogradInputs]) {
  using A = Simd;
  using Vector = Simd::Vector;
  const Vector quarter = A::broadcast(0.25f), four = A::broadcast(4.0f);
  y[0] = A::multiply_add(A::broadcast(5.25f), A::subtract(x[2], x[4]), A::subtract(x[6], x[0]));
  y[7] = A::multiply_add(A::broadcast(5.25f), A::subtract(x[3], x[5]), A::subtract(x[7], x[1]));
  const Vector even1 = A::multiply_add(A::broadcast(-4.25f), x[4], A::add(x[2], x[6]));
  const Vector odd1 = A::multiply_add(A::broadcast(-4.25f), x[3], A::add(x[1], x[5]));
  y[1] = A::add(even1, odd1);
  y[2] = A::subtract(even1, odd1);
  const Vector even2 =
      A::multiply_add(quarter, x[2], A::multiply_add(A::broadcast(-1.25f), x[4], x[6]));
  const Vector odd2 =
      A::multiply_add(quarter, x[1], A::multiply_add(A::broadcast(-1.25f), x[3], x[5]));
  const Vector two = A::broadcast(2.0f), minus_two = A::broadcast(-2.0f);
  y[3] = A::multiply_add(two, odd2, even2);
  y[4] = A::multiply_add(minus_two, odd2, even2);
  const Vector even3 =
      A::multiply_add(four, x[2], A::multiply_add(A::broadcast(-5.0f), x[4], x[6]));
  const Vector odd3 = A::multiply_add(four, x[1], A::multiply_add(A::broadcast(-5.0f), x[3], x[5]));
  y[5] = A::multiply_add(A::broadcast(0.5f), odd3, even3);
  y[6] = A::multiply_add(A::broadcast(-0.5f), odd3, even3);
}

// Eight products to four outputs: the transposed A.
DVFAST_INLINE void winograd_output(const Simd::Vector (&x)[kWinogradInputs],
                                   Simd::Vector (&y)[kWinogradOutputs]) {
  using A = Simd;
  using Vector = Simd::Vector;
  const Vector sum1 = A::add(x[1], x[2]), difference1 = A::subtract(x[1], x[2]);
  const Vector sum2 = A::add(x[3], x[4]), difference2 = A::subtract(x[3], x[4]);
  const Vector sum3 = A::add(x[5], x[6]), difference3 = A::subtract(x[5], x[6]);
  y[0] = A::add(A::add(x[0], sum1), A::add(sum2, sum3));
  y[1] = A::multiply_add(A::broadcast(0.5f), difference3,
                         A::multiply_add(A::broadcast(2.0f), difference2, difference1));
  y[2] =
      A::multiply_add(A::broadcast(0.25f), sum3, A::multiply_add(A::broadcast(4.0f), sum2, sum1));
  y[3] =
      A::add(x[7], A::multiply_add(A::broadcast(0.125f), difference3,
                                   A::multiply_add(A::broadcast(8.0f), difference2, difference1)));
}
