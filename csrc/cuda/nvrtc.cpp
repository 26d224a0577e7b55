// NVRTC, loaded when a program is first to be compiled. Its interface is declared here as far as it is used: it does
// not have to be there when this is built.
#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "cuda/compiler.h"

namespace evolute::cuda {

namespace {

namespace fs = std::filesystem;

// Where toolkits and wheels of NVIDIA's keep libraries: beside Python packages, the plug-in is one's.
std::vector<fs::path> usual_folders() {
  std::vector<fs::path> folders;
  for (const char* name : {"EVOLUTE_NVRTC_PATH", "CUDA_HOME", "CUDA_PATH"})
    if (const char* home = std::getenv(name)) {
      folders.emplace_back(home);
      folders.push_back(fs::path(home) / "lib64");
    }
  folders.emplace_back("/usr/local/cuda/lib64");
  Dl_info here;
  if (dladdr(reinterpret_cast<void*>(&usual_folders), &here)) {
    const auto packages = fs::path(here.dli_fname).parent_path().parent_path() / "nvidia";
    for (const char* part : {"cu13", "cuda_nvrtc"}) folders.push_back(packages / part / "lib");
  }
  return folders;
}

void* open_nvrtc() {
  constexpr const char* names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  for (const char* name : names)
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  std::error_code ignored;
  for (const fs::path& folder : usual_folders()) {
    // What it needs itself it looks for by name alone, and finds if that has been loaded.
    for (const auto& file : fs::directory_iterator(folder, ignored))
      if (file.path().filename().string().starts_with("libnvrtc-builtins.so")) dlopen(file.path().c_str(), RTLD_NOW);
    for (const char* name : names)
      if (void* library = dlopen((folder / name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile)(Program, int, const char* const*);
  int (*log_size)(Program, std::size_t*);
  int (*log)(Program, char*);
  int (*cubin_size)(Program, std::size_t*);
  int (*cubin)(Program, char*);
  int (*destroy)(Program*);
  bool ready = false;

  Nvrtc() {
    void* library = open_nvrtc();
    if (!library) return;
    const auto find = [&](const char* name, auto& f) {
      f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(dlsym(library, name));
      return f != nullptr;
    };
    ready = find("nvrtcCreateProgram", create) && find("nvrtcCompileProgram", compile) &&
            find("nvrtcGetProgramLogSize", log_size) && find("nvrtcGetProgramLog", log) &&
            find("nvrtcGetCUBINSize", cubin_size) && find("nvrtcGetCUBIN", cubin) &&
            find("nvrtcDestroyProgram", destroy);
  }
};

const Nvrtc& instance() {
  static const Nvrtc& nvrtc = *new Nvrtc;
  return nvrtc;
}

}  // namespace

bool has_nvrtc() { return instance().ready; }

Compiled compile_cubin(const std::string& source, int major, int minor) {
  const Nvrtc& nvrtc = instance();
  if (!nvrtc.ready) return {{}, "NVRTC (libnvrtc.so) is not there"};
  std::vector<const char*> names, texts;
  for (const char* name : {"cmath", "cstddef", "cstdint", "limits", "type_traits"}) {
    names.push_back(name);
    texts.push_back("#include \"cuda/standard.cuh\"\n");
  }
  for (int i = 0; i < embedded_count; ++i) {
    names.push_back(embedded_files[i].name);
    texts.push_back(embedded_files[i].text);
  }
  Nvrtc::Program program;
  if (nvrtc.create(&program, source.c_str(), "fused.cu", static_cast<int>(names.size()), texts.data(), names.data()))
    return {{}, "NVRTC takes no program"};
  const std::string arch = cat("-arch=sm_", major, minor);
  const char* options[] = {arch.c_str(), "-std=c++20", "-fmad=false", "-default-device"};
  const auto get = [&](auto size_of_it, auto it) {
    std::size_t size = 0;
    std::string text;
    if (size_of_it(program, &size) == 0) text.resize(size);
    if (it(program, text.data()) != 0) text.clear();
    return text;
  };
  Compiled result;
  if (nvrtc.compile(program, static_cast<int>(std::size(options)), options) == 0)
    result.cubin = get(nvrtc.cubin_size, nvrtc.cubin);
  else
    result.failure = cat("NVRTC says: ", get(nvrtc.log_size, nvrtc.log));
  nvrtc.destroy(&program);
  return result;
}

}  // namespace evolute::cuda
