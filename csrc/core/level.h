// Levels: the stack of transforms that an operation is interpreted through.
//
// Each transform opens a level for as long as it runs the user's function. A value traced by it points to the level
// and holds the value one level down. An operation goes to the highest live level among its operands.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "evolute/tensor.h"

namespace evolute {

struct Op;
class Attrs;
using AttrsPtr = Ref<const Attrs>;

class CallMemo;

class Level : public RefCounted {
 public:
  enum class Kind : std::uint8_t { Transform, Batch, Recorder };

  explicit Level(Kind kind = Kind::Transform) : kind_(kind) {}
  bool is_recorder() const noexcept { return kind_ == Kind::Recorder; }
  // Whether its values stand for one value per example, so that the values beneath have an axis more.
  bool is_batch() const noexcept { return kind_ == Kind::Batch; }
  int depth() const noexcept { return depth_; }  // 0 for a recorder below all transforms
  bool live() const noexcept { return live_; }
  // Whether derivatives were opened above it. Known once it has ended.
  bool has_nested() const noexcept { return has_nested_; }

  // Interprets one primitive. Inputs may belong to this level or to any below it.
  virtual void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) = 0;
  // The value of `t` below this level.
  virtual Tensor lower(const Tensor& t) const { return t; }
  // Like `process`, but once for equal calls.
  void process_once(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out);

 protected:
  // The level ends: gives up what refers back to it.
  virtual void forget() noexcept { memo_.reset(); }

 private:
  friend class LevelScope;
  friend class RecorderScope;
  int depth_ = 0;
  bool live_ = false, has_nested_ = false;
  const Kind kind_;
  std::shared_ptr<CallMemo> memo_;  // made when first needed
};

// A value of some transform: `inner` is the same value one level down. Keeps its level alive.
class Traced : public Value {
 public:
  Traced(Ref<Level> level, Tensor inner)
      : Value(inner.aval(), level.get()), inner(std::move(inner)), owner_(std::move(level)) {}
  // For values whose abstract value differs from that of the value beneath.
  Traced(Ref<Level> level, Tensor inner, const Aval& aval)
      : Value(aval, level.get()), inner(std::move(inner)), owner_(std::move(level)) {}
  const Tensor inner;

 private:
  Ref<Level> owner_;
};

// Graph mode's bottom level, and the level of a body of control flow within it; `graph/` implements it, `Variable` and
// `apply` talk to it.
class RecorderBase : public Level {
 public:
  // `of_body`: what it records is a body of control flow, of which derivatives may be taken later.
  explicit RecorderBase(bool of_body = false) : Level(Kind::Recorder), of_body_(of_body) {}
  bool of_body() const noexcept { return of_body_; }
  // What a variable holds when the recorded function begins; `below` is its value outside of the recording.
  virtual Tensor read(Variable& v, const Tensor& below) = 0;
  // Notes that the recorded function itself made this concrete value, so that it may replace it in place.
  void adopt(const Tensor& made) {
    if (!made.value()->level()) made_.push_back(made);
  }
  bool adopted(const Tensor& t) const {
    return std::any_of(made_.begin(), made_.end(), [&](const Tensor& m) { return m.is_same(t); });
  }

 private:
  const bool of_body_;
  std::vector<Tensor> made_;
};

// What variables hold as one level sees them: independent quantities of a derivative, and whatever was written since
// the level opened. It is seen by this thread alone, and by nobody once the level has ended.
class Bindings {
 public:
  struct Binding {
    Ref<Variable> variable;
    Tensor initial;  // undefined where the level wrote without having read
    Tensor now;
  };

  Tensor get(Variable& v);
  void set(Variable& v, Tensor value);
  // Puts a value in the place of the variable's own. It is no write: nothing remains of it when the level ends.
  void shadow(Variable& v, Tensor value) { all_.push_back({Ref<Variable>(&v), value, value}); }
  Binding* find(const Variable& v);
  std::span<const Binding> all() const { return all_; }

 private:
  friend class LevelScope;
  friend class RecorderScope;
  std::vector<Binding> all_;
  Bindings* outer_ = nullptr;
  RecorderBase* recorder_ = nullptr;  // set for a recording: what variables hold below it is an input of its graph
};

struct ThreadState {
  int depth = 0;                     // live transform levels on this thread
  std::int64_t opened = 0;           // how many derivatives there have been
  RecorderBase* recorder = nullptr;  // set while a graph is recorded
  Bindings* bindings = nullptr;      // of the innermost level; null at the top level
};
#if defined(__GLIBC__)
// Every operation looks at it several times, which is a plain load in this model and a call in others. That is safe for
// a few bytes in a library that is loaded late, as glibc (other C libraries do not) has room for them in its static
// block.
[[gnu::tls_model("initial-exec")]]
#endif
extern constinit thread_local ThreadState thread_state;

// Makes a level live on this thread for a scope. Levels nest strictly. What was written to variables meanwhile goes to
// the level below when the scope is left, as that level sees it; nothing does if an exception leaves it.
class LevelScope {
 public:
  explicit LevelScope(Level& level);
  ~LevelScope();
  LevelScope(const LevelScope&) = delete;
  LevelScope& operator=(const LevelScope&) = delete;

  // Ends the level before the scope is left. What is written to variables waits for that.
  void end() noexcept;
  Bindings& bindings() noexcept { return bindings_; }

 private:
  Level& level_;
  Bindings bindings_;
  const int exceptions_;
  const std::int64_t opened_;
  bool open_ = true;
};

// Makes a recorder live on this thread for a scope. Everything that runs inside is recorded. Variables stay untouched.
class RecorderScope {
 public:
  enum class Place : std::uint8_t {
    Bottom,  // as if no transform were live outside: levels start at depth 1 again
    Nested,  // above what is live: values of the levels outside are operands like any others, to be captured
  };
  explicit RecorderScope(RecorderBase& recorder, Place place = Place::Bottom);
  ~RecorderScope();
  RecorderScope(const RecorderScope&) = delete;
  RecorderScope& operator=(const RecorderScope&) = delete;

  Bindings& bindings() noexcept { return bindings_; }

 private:
  RecorderBase& recorder_;
  Bindings bindings_;
  ThreadState previous_;
};

// A value of a vmap that has ended: it was one per example, and what lies beneath is all of them.
[[noreturn]] void throw_outlived_batch(const Tensor& t);

// Sees through values whose transform has ended: they count as the value beneath.
inline const Tensor& settle(const Tensor& t) {
  const Tensor* p = &t;
  for (const Level* l; (l = p->value()->level()) && !l->live() && !l->is_recorder();) {
    if (l->is_batch()) throw_outlived_batch(*p);
    p = &static_cast<const Traced*>(p->value())->inner;
  }
  return *p;
}

// Whether `t` has a value per example of some vmap around, and not one value.
inline bool is_per_example(const Tensor& t) {
  const Tensor* p = &t;
  for (const Level* l; (l = p->value()->level()) && !l->is_recorder();) {
    if (l->is_batch()) return true;
    p = &static_cast<const Traced*>(p->value())->inner;
  }
  return false;
}

}  // namespace evolute
