#include "python/dlpack.h"

#include <memory>

#include "core/backend.h"

namespace evolute::python {

namespace {

constexpr const char *kPlain = "dltensor", *kPlainUsed = "used_dltensor";
constexpr std::uint64_t kReadOnly = 1, kIsCopied = 2;
constexpr const char *kVersioned = "dltensor_versioned", *kVersionedUsed = "used_dltensor_versioned";

DLDataType dl_type(DType t) {
  const auto bits = static_cast<std::uint8_t>(8 * size_of(t));
  const std::uint8_t code = t == DType::Bool ? 6 : is_floating(t) ? 2 : 0;
  return {code, bits, 1};
}

DType from_dl_type(DLDataType d) {
  for (DType t : {bool_, int32, int64, float32, float64}) {
    const DLDataType e = dl_type(t);
    if (e.code == d.code && e.bits == d.bits && d.lanes == 1) return t;
  }
  throw DTypeError(cat("from_dlpack: elements of DLPack type code ", int(d.code), " with ", int(d.bits),
                       " bits are not supported; use bool, int32, int64, float32 or float64"));
}

// What an export keeps alive.
template <class Managed>
struct Export {
  Managed managed;
  Ref<Array> array;
  Shape shape;
  Strides strides;
  std::intptr_t stream;

  // Whatever uses the memory next waits for what the consumer has been doing with it.
  ~Export() {
    if (array->on_host() || stream < 0) return;
    try {
      backend(array->aval().device.type).take_back(*array, stream);
    } catch (const DeviceError&) {
      // The device is broken, and says so to whoever asks it next.
    }
  }
};

template <class Managed>
Managed* make_export(Ref<Array> array, std::intptr_t stream) {
  auto* e = new Export<Managed>{};
  e->array = std::move(array);
  e->shape = e->array->shape();
  e->strides = e->array->strides();
  e->stream = stream;
  const Device device = e->array->aval().device;
  e->managed.tensor = {e->array->bytes(),
                       {device.type == DeviceType::CPU ? 1 : 2, device.index},
                       e->shape.size(),
                       dl_type(e->array->dtype()),
                       e->shape.begin(),
                       e->strides.begin(),
                       0};
  e->managed.context = e;
  e->managed.deleter = [](Managed* m) { delete static_cast<Export<Managed>*>(m->context); };
  return &e->managed;
}

// Frees an export that no consumer took: consumers rename the capsule.
template <class Managed>
py::capsule capsule_of(Managed* m, const char* name) {
  return py::reinterpret_steal<py::capsule>(PyCapsule_New(m, name, [](PyObject* c) {
    const char* name = PyCapsule_GetName(c);
    if (std::string_view(name).substr(0, 4) == "used") return;
    auto* m = static_cast<Managed*>(PyCapsule_GetPointer(c, name));
    m->deleter(m);
  }));
}

template <class Managed>
Tensor import_from(Managed* m) {
  // From here on the memory is ours to give back, also when something below throws.
  const auto release = [m] {
    if (!m->deleter) return;
    py::gil_scoped_acquire gil;  // the producer may be Python
    m->deleter(m);
  };
  const DLTensor& d = m->tensor;
  const bool cuda = d.device.type == 2;
  const Ref<Buffer> buffer =
      cuda ? backend(DeviceType::CUDA).adopt(d.data, 0, release) : Ref<Buffer>(new Buffer(d.data, 0, release));
  if ((d.device.type != 1 && d.device.type != 3 && !cuda) || (cuda && d.device.id != 0))
    throw DeviceError(cat("from_dlpack: the tensor is on DLPack device (", d.device.type, ", ", d.device.id,
                          "); evolute reads host memory (1, 0) and the first CUDA device (2, 0), copy it there first"));
  if (d.ndim > Dims::kMaxDims)
    throw ShapeError(cat("from_dlpack: at most ", Dims::kMaxDims, " axes are supported, got ", d.ndim));
  const Aval aval{Shape(std::span<const std::int64_t>(d.shape, static_cast<std::size_t>(d.ndim))),
                  from_dl_type(d.dtype), cuda ? Device{DeviceType::CUDA, 0} : Device{}};
  const Strides strides = d.strides
                              ? Strides(std::span<const std::int64_t>(d.strides, static_cast<std::size_t>(d.ndim)))
                              : row_major(aval.shape);
  return to_tensor(make_ref<Array>(aval, buffer, static_cast<std::byte*>(d.data) + d.byte_offset, strides));
}

}  // namespace

DLDevice dl_device(const Tensor& t) { return {t.device().type == DeviceType::CPU ? 1 : 2, t.device().index}; }

py::capsule to_dlpack(const Tensor& t, bool versioned, bool copy, std::intptr_t stream) {
  Ref<Array> array(const_cast<Array*>(&t.array()));
  const DeviceType device = array->aval().device.type;
  if (copy || (device != DeviceType::CPU && array->on_host())) {  // a constant of a device has no memory there yet
    Ref<Array> own = empty(array->aval());
    copy_array(*array, *own);
    array = std::move(own);
  }
  if (device != DeviceType::CPU && stream >= 0) backend(device).hand_over(*array, stream);
  if (!versioned) return capsule_of(make_export<DLManagedTensor>(std::move(array), stream), kPlain);
  auto* m = make_export<DLManagedTensorVersioned>(std::move(array), stream);
  m->version = {1, 0};
  m->flags = copy ? kIsCopied : kReadOnly;
  return capsule_of(m, kVersioned);
}

Tensor from_dlpack(py::object source) {
  py::object capsule = source;
  if (!PyCapsule_CheckExact(source.ptr())) {
    if (!py::hasattr(source, "__dlpack__"))
      throw DTypeError(cat("from_dlpack: a ", Py_TYPE(source.ptr())->tp_name, " has no __dlpack__ method"));
    // A producer on a GPU is told the stream on which its tensor will be used.
    py::dict options;
    if (py::hasattr(source, "__dlpack_device__") &&
        source.attr("__dlpack_device__")().attr("__getitem__")(0).cast<int>() == 2)
      options["stream"] = backend(DeviceType::CUDA).stream();
    try {
      capsule = source.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(1, 0), **options);
    } catch (py::error_already_set& e) {
      if (!e.matches(PyExc_TypeError)) throw;
      capsule = source.attr("__dlpack__")(**options);  // a producer from before DLPack 1.0
    }
  }
  const char* name = PyCapsule_GetName(capsule.ptr());
  const std::string_view kind = name ? name : "";
  if (kind != kPlain && kind != kVersioned)
    throw ValueError("from_dlpack: the capsule is no DLPack tensor, or was consumed already");
  void* p = PyCapsule_GetPointer(capsule.ptr(), name);
  PyCapsule_SetName(capsule.ptr(), kind == kPlain ? kPlainUsed : kVersionedUsed);
  if (kind == kPlain) return import_from(static_cast<DLManagedTensor*>(p));
  auto* m = static_cast<DLManagedTensorVersioned*>(p);
  if (const DLVersion v = m->version; v.major != 1) {
    if (m->deleter) m->deleter(m);
    throw ValueError(
        cat("from_dlpack: the tensor is laid out as of DLPack ", v.major, ".", v.minor, "; evolute reads version 1"));
  }
  return import_from(m);
}

}  // namespace evolute::python
