// What the .cu files offer to the backend: each starts kernels on a stream, with operands whose layout has been worked
// out.
#pragma once

#include <cstddef>

#include "core/backend.h"
#include "cuda/elementwise.h"
#include "cuda/fused.h"
#include "cuda/gemm.h"
#include "cuda/runtime.h"

namespace evolute::cuda {

// ---- copy.cu

// Operands: out, in.
struct CopyArgs {
  Loop<2> loop;
  void* out;
  const void* in;
  std::uint64_t immediate;  // bits of the element where `in` is null, in the type of `from`
  bool packed;
};
void start_copy(DType to, DType from, const CopyArgs& args, cudaStream_t stream);

// out[z][i][j] = in[z][j][i] for i < rows, j < columns; dense along j in out, along i in in.
struct TransposeArgs {
  std::int64_t rows, columns;
  std::int64_t out_pitch, in_pitch;
  Loop<2> matrices;
  void* out;
  const void* in;
};
void start_transpose(std::size_t item, const TransposeArgs& args, cudaStream_t stream);

// ---- reduce.cu

struct ReduceArgs {
  Loop<2> kept;   // in, out; size: how many outputs
  Loop<1> along;  // in
  const void* in;
  void* out;
  std::int64_t chunks;  // parts of the reduced space, each with a result of its own: out[unit * chunks + chunk]
  std::int64_t per;     // elements of a part
  int lanes;            // threads per output, a power of two up to 256
  bool columns;         // neighbouring outputs lie side by side in the input: a thread each
  bool packed;          // rows of 16-byte groups
};
void start_reduce(Reduction r, DType t, const ReduceArgs& args, cudaStream_t stream);

// Positions along the one axis that is reduced.
struct ArgReduceArgs {
  Loop<2> kept;  // in, out
  std::int64_t length, stride;
  const void* in;
  const std::int64_t* positions;  // of the elements of `in`, laid out alike; null: they are numbered along the axis
  std::int64_t* out;
  void* values;              // of the elements at the positions found, if there are several parts
  std::int64_t chunks, per;  // as above, but results lie part by part: out[chunk * kept.size + unit]
  int lanes;
};
void start_arg_reduce(bool max, DType t, const ArgReduceArgs& args, cudaStream_t stream);

// ---- scan.cu

struct ScanArgs {
  Loop<2> rows;                                // in, out
  std::int64_t length, in_stride, out_stride;  // along the axis; negative strides for running from its end
  const void* in;
  void* out;
  std::int64_t chunks, per;
  void* totals;  // of chunks: doubles or 64-bit integers, rows × chunks
};
void start_scan(DType t, const ScanArgs& args, cudaStream_t stream);

// ---- index.cu

inline constexpr int kMaxIndices = kMaxAxes;
struct IndexArgs {
  Loop<kMaxIndices + 1> list;  // the index arrays, then the array that has one slice for each
  Loop<2> slice;               // in the listed array, in the indexed one
  int indices;
  const std::int64_t* index[kMaxIndices];
  std::int64_t length[kMaxIndices], stride[kMaxIndices];  // of the axes that are indexed
  int axis[kMaxIndices];
  void* listed;
  void* indexed;
  Fault* fault;
  std::int64_t first;               // number of the first index, in all of them
  std::int64_t* winner;             // scatter_set: for each place that indices can name, the last one that does
  std::int64_t place[kMaxIndices];  // strides of those places
};
void start_gather(std::size_t item, const IndexArgs& args, cudaStream_t stream);
void start_claim(const IndexArgs& args, cudaStream_t stream);  // finds the winners
void start_scatter_set(std::size_t item, const IndexArgs& args, cudaStream_t stream);
void start_scatter_add(DType t, const IndexArgs& args, cudaStream_t stream);

// Counts of true elements in blocks of kNonzeroBlock, their running sum in place (total in counts[blocks]), and where
// the true ones are.
inline constexpr std::int64_t kNonzeroBlock = 4096;
void start_count(const void* mask, std::int64_t n, std::int64_t* counts, cudaStream_t stream);
void start_sum_counts(std::int64_t* counts, std::int64_t blocks, cudaStream_t stream);
void start_positions(const void* mask, std::int64_t n, const std::int64_t* counts, std::int64_t* out,
                     cudaStream_t stream);

// ---- random.cu

void start_iota(DType t, double start, double step, std::int64_t n, std::int64_t stride, void* out,
                cudaStream_t stream);
void start_random(DType t, bool normal, std::uint64_t seed, std::int64_t n, void* out, cudaStream_t stream);

// ---- gemm.cu

// Integers have no tiles.
void start_gemm(DType t, Tile tile, const GemmArgs& args, cudaStream_t stream);

// ---- linalg.cu

// Batches of dense row-major n × n matrices. `work` of `cofactor`: n² elements, and 2 n permutations for each matrix.
void start_cholesky(DType t, std::int64_t batches, std::int64_t n, void* a, cudaStream_t stream);
// x (n × k, in place) solves a x = b; a shared by all where `a_step` is 0.
void start_solve_triangular(DType t, std::int64_t batches, std::int64_t n, std::int64_t k, const void* a,
                            std::int64_t a_step, bool lower, bool unit, void* x, cudaStream_t stream);
// Factors in place; pivots: row that step i was exchanged with.
void start_lu(DType t, std::int64_t batches, std::int64_t n, void* a, std::int64_t* pivots, cudaStream_t stream);
void start_lu_solve(DType t, std::int64_t batches, std::int64_t n, std::int64_t k, const void* lu,
                    const std::int64_t* pivots, std::int64_t lu_step, void* x, cudaStream_t stream);
void start_determinant(DType t, std::int64_t batches, std::int64_t n, const void* lu, const std::int64_t* pivots,
                       bool log, void* out, cudaStream_t stream);
void start_cofactor(DType t, std::int64_t batches, std::int64_t n, void* a, void* work, std::int64_t* permutations,
                    void* out, cudaStream_t stream);

// ---- fused.cu

void start_fused(const FusedArgs& args, cudaStream_t stream);
// Blocks for a loop whose threads take `group` neighbours.
inline unsigned fused_blocks(const FusedArgs& a, int group) {
  if (a.sums == 0) return blocks_for(a.size, std::int64_t{kBlock} * group);
  return blocks_for(a.tiles.units, kBlock / (a.tiles.lanes * a.tiles.height));
}

}  // namespace evolute::cuda
