// Microbenchmarks of the C++ interface. EVOLUTE_NUM_THREADS says how many threads kernels use; the options are those of
// Google Benchmark: --benchmark_filter='grad2/sin', --benchmark_repetitions=10, --benchmark_format=json, …
#include <evolute/threads.h>

#include "common.h"

int main(int argc, char** argv) {
  bench::add_overhead();
  bench::add_elementwise();
  bench::add_matmul();
  bench::add_reductions();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("threads", std::to_string(ev::num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
