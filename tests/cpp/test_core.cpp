// The core: dtypes, shapes, memory, arrays, tensors, variables.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "core/array.h"
#include "core/backend.h"
#include "core/level.h"

using namespace evolute;

namespace {

template <class T>
std::string text(const T& x) {
  std::ostringstream s;
  s << x;
  return s.str();
}

template <class E, class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing thrown";
}

Tensor counting(const Shape& shape, DType dtype = float64) {
  std::vector<double> v(static_cast<std::size_t>(shape.product()));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i);
  return tensor(v, shape, dtype);
}

}  // namespace

TEST_CASE("dtype names and promotion") {
  CHECK(name_of(float32) == "Float32");
  CHECK(name_of(bool_) == "Bool");
  CHECK(name_of(int64) == "Int64");
  CHECK(promote(int64, float32) == float32);
  CHECK(promote_weak(int32, int64) == int32);
  CHECK(promote_weak(int32, float64) == float32);
  CHECK(promote_weak(bool_, int64) == int64);
}

TEST_CASE("dims") {
  CHECK(text(Dims{2, 3}) == "(2, 3)");
  CHECK(text(Dims{3}) == "(3,)");
  CHECK(text(Dims{}) == "()");
  CHECK(Dims{}.product() == 1);
  Dims d{1, 2, 3};
  d.insert(1, 7);
  CHECK(d == Dims{1, 7, 2, 3});
  d.erase(0);
  CHECK(d == Dims{7, 2, 3});
  CHECK_THROWS_AS(Dims::filled(9, 1), ShapeError);
  CHECK(text(Aval{{2, 3}, float32}) == "Float32(2, 3)");
  CHECK(text(Aval{{}, bool_}) == "Bool()");
}

TEST_CASE("host blocks are aligned, writable and reused") {
  for (std::size_t n : {0, 1, 16, 63, 64, 65, 300, 4096, 5000, 65536, 65537, 1 << 20, (1 << 22) + 3}) {
    Ref<Buffer> b = allocate_host(n);
    CHECK(b->bytes() == n);
    CHECK(reinterpret_cast<std::uintptr_t>(b->data()) % 64 == 0);
    std::memset(b->data(), 0xAB, n);
    const void* p = b->data();
    b = nullptr;
    CHECK(allocate_host(n)->data() == p);
  }
  CHECK_THROWS_AS(allocate_host(std::numeric_limits<std::size_t>::max()), std::bad_alloc);
  CHECK_THROWS_AS(allocate_host(std::size_t{1} << 55), std::bad_alloc);
}

TEST_CASE("allocator statistics") {
  release_cached_memory();
  const AllocatorStats before = allocator_stats();
  reset_peak_bytes();
  {
    Ref<Buffer> small = allocate_host(1000), large = allocate_host(1 << 20);
    const AllocatorStats now = allocator_stats();
    CHECK(now.live_bytes - before.live_bytes == 1024 + (1 << 20));
    CHECK(now.peak_bytes == now.live_bytes);
  }
  const AllocatorStats after = allocator_stats();
  CHECK(after.live_bytes == before.live_bytes);
  CHECK(after.peak_bytes - before.live_bytes == 1024 + (1 << 20));
  CHECK(after.cached_bytes >= 1024 + (1 << 20));
  release_cached_memory();
  CHECK(allocator_stats().cached_bytes == 0);
  reset_peak_bytes();
  CHECK(allocator_stats().peak_bytes == allocator_stats().live_bytes);
}

TEST_CASE("pool objects keep their contents and may outnumber the cache") {
  std::vector<std::pair<unsigned char*, std::size_t>> objects;
  bool aligned = true, intact = true;
  for (std::size_t i = 0; i < 100000; ++i) {
    const std::size_t n = 1 + i % 600;
    auto* p = static_cast<unsigned char*>(pool_allocate(n));
    aligned = aligned && reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
    std::memset(p, static_cast<int>(i % 251), n);
    objects.emplace_back(p, n);
  }
  for (std::size_t i = 0; i < objects.size(); ++i) {
    auto [p, n] = objects[i];
    intact = intact && p[0] == i % 251 && p[n - 1] == i % 251;
    pool_free(p, n);
  }
  CHECK(aligned);
  CHECK(intact);
}

TEST_CASE("memory is freed on other threads than it came from") {
  const std::size_t live = allocator_stats().live_bytes;
  std::mutex mutex;
  std::vector<Ref<Buffer>> exchanged;
  std::vector<void*> objects;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        Ref<Buffer> b = allocate_host(static_cast<std::size_t>(64 << (i + t) % 13));
        *b->data() = std::byte{1};
        void* p = pool_allocate(80);
        std::lock_guard lock(mutex);
        exchanged.push_back(std::move(b));
        objects.push_back(p);
        if (exchanged.size() > 8) {
          exchanged.erase(exchanged.begin());
          pool_free(objects.front(), 80);
          objects.erase(objects.begin());
        }
      }
    });
  for (auto& t : threads) t.join();
  exchanged.clear();
  for (void* p : objects) pool_free(p, 80);
  CHECK(allocator_stats().live_bytes == live);
}

TEST_CASE("memory outlives the cache of a thread that has ended") {
  Ref<Buffer> survivor;
  std::thread([&] {
    // Destroyed after the thread's cache, which is made later.
    thread_local struct Late {
      Ref<Buffer> held;
      ~Late() { held = allocate_host(100); }
    } late;
    late.held = nullptr;
    survivor = allocate_host(100);
    allocate_host(200);
  }).join();
  *survivor->data() = std::byte{1};
  survivor = nullptr;
}

TEST_CASE("a foreign buffer is released once") {
  int released = 0;
  double x[2] = {1, 2};
  {
    Ref<Buffer> b(new Buffer(x, sizeof x, [&] { ++released; }));
    Ref<Array> a = make_ref<Array>(Aval{{2}, float64}, b);
    b = nullptr;
    CHECK(to_tensor(a).to_vector() == std::vector<double>{1, 2});
    CHECK(released == 0);
  }
  CHECK(released == 1);
}

TEST_CASE("strides") {
  CHECK(row_major({2, 3, 4}) == Strides{12, 4, 1});
  CHECK(row_major({}) == Strides{});
  CHECK(is_row_major({2, 3}, {3, 1}));
  CHECK_FALSE(is_row_major({2, 3}, {1, 2}));
  CHECK(is_row_major({2, 1, 3}, {3, 77, 1}));
  CHECK(is_row_major({0, 3}, {5, 9}));
  CHECK(is_row_major({}, {}));
  CHECK_FALSE(is_row_major({2}, {0}));
}

TEST_CASE("views share memory; contiguous copies only what it must") {
  const Tensor t = counting({3, 4});
  const Array& a = t.array();
  Ref<Array> transposed = view(a, {4, 3}, {1, 4});
  CHECK(transposed->bytes() == a.bytes());
  CHECK_FALSE(transposed->contiguous());
  CHECK(to_tensor(transposed).to_vector() == std::vector<double>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
  CHECK(to_tensor(view(a, {2}, {-1}, 5)).to_vector() == std::vector<double>{5, 4});
  CHECK(contiguous(a).get() == &a);
  Ref<Array> dense = contiguous(*transposed);
  CHECK(dense->contiguous());
  CHECK(dense->bytes() != a.bytes());
  CHECK(to_tensor(dense).to_vector() == to_tensor(transposed).to_vector());

  Ref<Array> wide = broadcast_view(*view(a, {3, 1}, {4, 1}), {2, 3, 2});
  CHECK(wide->strides() == Strides{0, 4, 0});
  CHECK(to_tensor(wide).to_vector() == std::vector<double>{0, 0, 4, 4, 8, 8, 0, 0, 4, 4, 8, 8});
}

TEST_CASE("empty refuses sizes beyond the address space") {
  CHECK(empty({{0, std::int64_t{1} << 40, 8}, float64})->size() == 0);
  CHECK_THROWS_AS(empty({{std::int64_t{1} << 62, 8}, float64}), std::bad_alloc);
  CHECK_THROWS_AS(empty({{std::int64_t{1} << 60}, float64}), std::bad_alloc);
}

TEST_CASE("broadcasting of shapes") {
  CHECK(broadcast_shapes({2, 3}, {2, 3}, "op") == Shape{2, 3});
  CHECK(broadcast_shapes({2, 1}, {3}, "op") == Shape{2, 3});
  CHECK(broadcast_shapes({}, {4, 5}, "op") == Shape{4, 5});
  CHECK(broadcast_shapes({1}, {0}, "op") == Shape{0});
  CHECK(broadcast_shapes({5, 1, 4}, {3, 1}, "op") == Shape{5, 3, 4});
  const std::string m = message<ShapeError>([] { broadcast_shapes({2, 3}, {4}, "add"); });
  CHECK(m.find("add") != std::string::npos);
  CHECK(m.find("(2, 3)") != std::string::npos);
  CHECK(m.find("(4,)") != std::string::npos);
}

TEST_CASE("axes") {
  CHECK(normalize_axis(-1, 3, "op") == 2);
  CHECK_THROWS_AS(normalize_axis(3, 3, "op"), IndexError);
  CHECK_THROWS_AS(normalize_axis(0, 0, "op"), IndexError);
  CHECK(normalize_axes({-1, 0}, 3, "op") == Axes{0, 2});
  CHECK_THROWS_AS(normalize_axes({1, -2}, 3, "op"), ValueError);
}

TEST_CASE("tensors from values and back") {
  CHECK(scalar(2.5).item() == 2.5);
  CHECK(scalar(2.5, int32).item() == 2);
  CHECK(scalar(-3, bool_).item() == 1);
  CHECK(scalar(2.5).dtype() == float32);
  CHECK(tensor({1, 2, 3}, int64).to_vector() == std::vector<double>{1, 2, 3});
  CHECK(counting({2, 2}).shape() == Shape{2, 2});
  CHECK_THROWS_AS(counting({2, 2}).item(), ShapeError);
  const double v[] = {1, 2, 3};
  CHECK_THROWS_AS(tensor(v, {2, 2}), ShapeError);
  CHECK_THROWS_AS(tensor(v, {-1, -3}), ShapeError);
  CHECK_THROWS_AS(Tensor().item(), TraceError);
}

TEST_CASE("printing follows NumPy") {
  CHECK(text(scalar(3)) == "3.0");
  CHECK(text(scalar(0.1)) == "0.1");
  CHECK(text(scalar(1e-5)) == "1e-05");
  CHECK(text(scalar(7, int64)) == "7");
  CHECK(text(scalar(1, bool_)) == "True");
  CHECK(text(tensor({1, 2.5, -3})) == "[ 1.   2.5 -3. ]");
  CHECK(text(counting({2, 3}, float32)) == "[[0. 1. 2.]\n [3. 4. 5.]]");
  CHECK(text(counting({2, 1, 2}, int32)) == "[[[0 1]]\n\n [[2 3]]]");
  CHECK(text(tensor({4.5099998, 2.7, 3.6000001})) == "[4.5099998 2.7       3.6000001]");
  CHECK(text(tensor({1.0 / 3, 1}, float64)) == "[0.33333333 1.        ]");
  CHECK(text(tensor({1e-6, 2.5})) == "[1.0e-06 2.5e+00]");
  CHECK(text(tensor({NAN, INFINITY, -1})) == "[nan inf -1.]");
  CHECK(text(tensor({1, 0}, bool_)) == "[ True False]");
  CHECK(text(tensor({})) == "[]");
  CHECK(text(Tensor()) == "<undefined>");
}

TEST_CASE("a device without a backend") {
  // Where the plug-in was built a driver or a GPU is missing instead, or nothing.
  const std::string why = message<DeviceError>([] { backend(DeviceType::CUDA); });
  CHECK((why == "nothing thrown" || why.find("CUDA") != std::string::npos));
}

namespace {

struct TestLevel : Level {
  void process(const Op&, const AttrsPtr&, std::span<const Tensor>, std::span<Tensor>) override {}
};

struct TestRecorder : RecorderBase {
  void process(const Op&, const AttrsPtr&, std::span<const Tensor>, std::span<Tensor>) override {}
  Tensor read(Variable& v, const Tensor&) override {
    ++reads;
    return v.raw();
  }
  int reads = 0;
};

struct TestTraced : Traced {
  using Traced::Traced;
};

}  // namespace

TEST_CASE("the value beneath live and ended levels") {
  auto outer = make_ref<TestLevel>(), inner = make_ref<TestLevel>();
  const Tensor x = scalar(4);
  {
    LevelScope a(*outer);
    CHECK(outer->depth() == 1);
    const Tensor y(Ref<Value>(new TestTraced(outer, x)));
    LevelScope b(*inner);
    CHECK(inner->depth() == 2);
    const Tensor z(Ref<Value>(new TestTraced(inner, y)));
    CHECK(z.item() == 4);
    CHECK(text(z) == "4.0");
    CHECK(&z.array() == &x.array());
    CHECK(settle(z).is_same(z));
  }
  CHECK(thread_state.depth == 0);
  const Tensor ended(Ref<Value>(new TestTraced(outer, x)));
  CHECK(settle(ended).is_same(x));

  auto recorder = make_ref<TestRecorder>();
  const Tensor recorded(Ref<Value>(new TestTraced(recorder, x)));
  CHECK(message<TraceError>([&] { recorded.item(); }).find("ops.cond") != std::string::npos);
  CHECK(text(recorded) == "<traced Float32()>");
}

TEST_CASE("variables") {
  const auto owner = make_ref<Variable>(tensor({1, 2}), "weight");
  Variable& v = *owner;
  v.set(tensor({3, 4}));
  CHECK(v.get().to_vector() == std::vector<double>{3, 4});
  CHECK(message<ShapeError>([&] { v.set(scalar(1)); }).find("weight") != std::string::npos);
  CHECK(message<DTypeError>([&] { v.set(tensor({1, 2}, float64)); }).find("weight") != std::string::npos);
  CHECK(v.get().to_vector() == std::vector<double>{3, 4});

  auto first = make_ref<TestRecorder>(), second = make_ref<TestRecorder>();
  {
    RecorderScope a(*first);
    {
      RecorderScope b(*second);
      v.get();
      v.get();
    }
    CHECK(thread_state.recorder == first.get());
    v.set(tensor({5, 6}));
    CHECK(v.get().to_vector() == std::vector<double>{5, 6});
    REQUIRE(a.bindings().all().size() == 1);
    CHECK(a.bindings().all()[0].now.to_vector() == std::vector<double>{5, 6});
  }
  CHECK(thread_state.recorder == nullptr);
  CHECK(second->reads == 1);
  CHECK(first->reads == 0);
  CHECK(v.get().to_vector() == std::vector<double>{3, 4});
}
