// Static parameters of a primitive: an immutable record that can be compared, hashed and printed.
#pragma once

#include <functional>
#include <ostream>
#include <tuple>

#include "core/level.h"

namespace evolute {

class Attrs : public RefCounted {
 public:
  virtual bool equals(const Attrs& o) const = 0;
  virtual std::size_t hash() const = 0;
  virtual void print(std::ostream& s) const = 0;
  // Whether the derivative is a rule of the user's, which need not be the derivative of anything.
  virtual bool has_own_derivative() const { return false; }
};

inline std::size_t hash_mix(std::size_t h, std::size_t x) { return (h ^ x) * 0x9E3779B97F4A7C15ull + (h >> 29); }

// T is an aggregate with a member `auto fields() const` returning a std::tie of all its members.
template <class T>
class AttrsOf final : public Attrs {
 public:
  explicit AttrsOf(T v) : value(std::move(v)) {}
  bool equals(const Attrs& o) const override {
    auto* p = dynamic_cast<const AttrsOf*>(&o);
    return p && p->value.fields() == value.fields();
  }
  std::size_t hash() const override {
    std::size_t h = typeid(T).hash_code();
    std::apply([&](const auto&... f) { ((h = hash_mix(h, hash_one(f))), ...); }, value.fields());
    return h;
  }
  void print(std::ostream& s) const override {
    std::apply(
        [&](const auto&... f) {
          const char* sep = "";
          ((print_one(s << std::exchange(sep, ", "), f)), ...);
        },
        value.fields());
  }
  const T value;

 private:
  static std::size_t hash_one(const Dims& d) {
    std::size_t h = static_cast<std::size_t>(d.size());
    for (auto x : d) h = hash_mix(h, static_cast<std::size_t>(x));
    return h;
  }
  static std::size_t hash_one(Device d) {
    return static_cast<std::size_t>(d.type) << 8 | static_cast<std::size_t>(d.index);
  }
  template <class U>
  static std::size_t hash_one(const U& u) {
    return std::hash<U>{}(u);
  }
  static void print_one(std::ostream& s, DType t) { s << name_of(t); }
  template <class U>
  static void print_one(std::ostream& s, const U& u) {
    s << u;
  }
};

template <class T>
AttrsPtr make_attrs(T v) {
  return AttrsPtr(new AttrsOf<T>(std::move(v)));
}
template <class T>
const T& attrs_as(const Attrs* a) {
  return static_cast<const AttrsOf<T>*>(a)->value;
}

}  // namespace evolute
