// NVRTC and the driver, both loaded when a program is first to be compiled. Their interfaces are declared here as far
// as they are used: neither has to be there when this is built.
#include "cuda/compiler.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

namespace evolute::cuda {

namespace {

// The standard headers that the formulas include, as far as they need them: NVRTC has none.
constexpr const char* kStandard = R"(
#pragma once
namespace std {
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long;
using uint64_t = unsigned long;
using uintptr_t = unsigned long;
using size_t = unsigned long;
template <bool c, class A, class B> struct conditional { using type = A; };
template <class A, class B> struct conditional<false, A, B> { using type = B; };
template <bool c, class A, class B> using conditional_t = typename conditional<c, A, B>::type;
template <class A, class B> inline constexpr bool is_same_v = false;
template <class A> inline constexpr bool is_same_v<A, A> = true;
template <class T> inline constexpr bool is_floating_point_v = is_same_v<T, float> || is_same_v<T, double>;
template <class T> inline constexpr bool is_integral_v =
    is_same_v<T, bool> || is_same_v<T, char> || is_same_v<T, signed char> || is_same_v<T, unsigned char> ||
    is_same_v<T, short> || is_same_v<T, unsigned short> || is_same_v<T, int> || is_same_v<T, unsigned> ||
    is_same_v<T, long> || is_same_v<T, unsigned long> || is_same_v<T, long long> || is_same_v<T, unsigned long long>;
template <class T> inline constexpr bool is_arithmetic_v = is_integral_v<T> || is_floating_point_v<T>;
template <class T> struct make_unsigned { using type = unsigned; };
template <> struct make_unsigned<long> { using type = unsigned long; };
template <class T> using make_unsigned_t = typename make_unsigned<T>::type;
#define EV_STD(name) \
  __device__ inline float name(float x) { return ::name##f(x); } \
  __device__ inline double name(double x) { return ::name(x); }
EV_STD(sqrt) EV_STD(exp) EV_STD(expm1) EV_STD(log) EV_STD(log1p) EV_STD(sin) EV_STD(cos) EV_STD(tan) EV_STD(asin)
EV_STD(acos) EV_STD(atan) EV_STD(sinh) EV_STD(cosh) EV_STD(tanh) EV_STD(asinh) EV_STD(acosh) EV_STD(atanh) EV_STD(erf)
EV_STD(erfc) EV_STD(fabs) EV_STD(floor) EV_STD(ceil) EV_STD(nearbyint) EV_STD(trunc)
#undef EV_STD
#define EV_STD(name) \
  __device__ inline float name(float x, float y) { return ::name##f(x, y); } \
  __device__ inline double name(double x, double y) { return ::name(x, y); }
EV_STD(hypot) EV_STD(atan2) EV_STD(pow) EV_STD(fmod) EV_STD(copysign)
#undef EV_STD
__device__ inline float fma(float x, float y, float z) { return ::fmaf(x, y, z); }
__device__ inline double fma(double x, double y, double z) { return ::fma(x, y, z); }
}
)";

void* open_any(std::initializer_list<const char*> names, std::span<const std::filesystem::path> folders) {
  for (const char* name : names)
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  for (const auto& folder : folders)
    for (const char* name : names)
      if (void* library = dlopen((folder / name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  return nullptr;
}

// Where toolkits and wheels of NVIDIA's keep libraries.
std::vector<std::filesystem::path> usual_folders() {
  std::vector<std::filesystem::path> folders;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* home = std::getenv(name)) folders.emplace_back(std::filesystem::path(home) / "lib64");
  folders.emplace_back("/usr/local/cuda/lib64");
  Dl_info here;
  if (dladdr(reinterpret_cast<void*>(&usual_folders), &here)) {
    const auto packages = std::filesystem::path(here.dli_fname).parent_path().parent_path() / "nvidia";
    for (const char* part : {"cu13", "cuda_nvrtc"}) folders.push_back(packages / part / "lib");
  }
  return folders;
}

class Compiler {
 public:
  static Compiler& get() {
    static Compiler& instance = *new Compiler;
    return instance;
  }
  bool available() const { return ready_; }

  // The kernel of a source; null if it does not compile.
  void* compile(const std::string& source);
  cudaError_t start(void* kernel, unsigned blocks, const FusedArgs& args, cudaStream_t stream) {
    void* parameters[] = {const_cast<FusedArgs*>(&args)};
    return static_cast<cudaError_t>(launch_(kernel, blocks, 1, 1, 256, 1, 1, 0, stream, parameters, nullptr));
  }

 private:
  using Program = void*;
  int (*create_)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile_)(Program, int, const char* const*);
  int (*cubin_size_)(Program, std::size_t*);
  int (*cubin_)(Program, char*);
  int (*destroy_)(Program*);
  int (*load_)(void**, const void*);
  int (*function_)(void**, void*, const char*);
  int (*launch_)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cudaStream_t, void**,
                 void**);

  Compiler() {
    void* nvrtc = open_any({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}, usual_folders());
    void* driver = open_any({"libcuda.so.1"}, {});
    if (!nvrtc || !driver) return;
    const auto find = [](void* library, const char* name, auto& f) {
      f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(dlsym(library, name));
      return f != nullptr;
    };
    ready_ = find(nvrtc, "nvrtcCreateProgram", create_) && find(nvrtc, "nvrtcCompileProgram", compile_) &&
             find(nvrtc, "nvrtcGetCUBINSize", cubin_size_) && find(nvrtc, "nvrtcGetCUBIN", cubin_) &&
             find(nvrtc, "nvrtcDestroyProgram", destroy_) && find(driver, "cuModuleLoadData", load_) &&
             find(driver, "cuModuleGetFunction", function_) && find(driver, "cuLaunchKernel", launch_);
  }

  bool ready_ = false;
};

void* Compiler::compile(const std::string& source) {
  std::vector<const char*> names, texts;
  for (const char* name : {"cmath", "cstdint", "limits", "type_traits", "cstddef"}) {
    names.push_back(name);
    texts.push_back(kStandard);
  }
  for (int i = 0; i < embedded_count; ++i) {
    names.push_back(embedded_files[i].name);
    texts.push_back(embedded_files[i].text);
  }
  Program program;
  if (create_(&program, source.c_str(), "fused.cu", static_cast<int>(names.size()), texts.data(), names.data()) != 0)
    return nullptr;
  const DeviceInfo& device = device_info();
  const std::string arch = cat("-arch=sm_", device.major, device.minor);
  const char* options[] = {arch.c_str(), "-std=c++20", "-fmad=false", "-default-device"};
  std::string binary;
  std::size_t size = 0;
  if (compile_(program, static_cast<int>(std::size(options)), options) == 0 && cubin_size_(program, &size) == 0) {
    binary.resize(size);
    if (cubin_(program, binary.data()) != 0) binary.clear();
  }
  destroy_(&program);
  void *module = nullptr, *kernel = nullptr;
  if (binary.empty() || load_(&module, binary.data()) != 0 || function_(&kernel, module, "fused") != 0) return nullptr;
  return kernel;
}

}  // namespace

void* compile_kernel(const std::string& source) {
  Compiler& compiler = Compiler::get();
  return compiler.available() ? compiler.compile(source) : nullptr;
}

void start_kernel(void* kernel, unsigned blocks, const FusedArgs& args, cudaStream_t stream) {
  check(Compiler::get().start(kernel, blocks, args, stream), "fused loop");
}

}  // namespace evolute::cuda
