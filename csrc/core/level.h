// Levels: the stack of transforms that an operation is interpreted through.
//
// Each transform opens a level for as long as it runs the user's function. A value traced by it points to the level
// and holds the value one level down. An operation goes to the highest live level among its operands.
#pragma once

#include <span>

#include "evolute/tensor.h"

namespace evolute {

struct Op;
class Attrs;
using AttrsPtr = Ref<const Attrs>;

class Level : public RefCounted {
 public:
  enum class Kind : std::uint8_t { Transform, Recorder };

  explicit Level(Kind kind = Kind::Transform) : kind_(kind) {}
  bool is_recorder() const noexcept { return kind_ == Kind::Recorder; }
  int depth() const noexcept { return depth_; }  // 0 for recorders, which sit below all transforms
  bool live() const noexcept { return live_; }

  // Interprets one primitive. Inputs may belong to this level or to any below it.
  virtual void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) = 0;

 private:
  friend class LevelScope;
  friend class RecorderScope;
  int depth_ = 0;
  bool live_ = false;
  const Kind kind_;
};

// A value of some transform: `inner` is the same value one level down. Keeps its level alive.
class Traced : public Value {
 public:
  Traced(Ref<Level> level, Tensor inner) : Value(inner.aval(), level.get()), inner(std::move(inner)), owner_(std::move(level)) {}
  const Tensor inner;

 protected:
  Traced(Ref<Level> level, const Aval& aval) : Value(aval, level.get()), owner_(std::move(level)) {}

 private:
  Ref<Level> owner_;
};

// Graph mode's bottom level; `graph/` implements it, `Variable` and `apply` talk to it.
class RecorderBase : public Level {
 public:
  RecorderBase() : Level(Kind::Recorder) {}
  virtual Tensor read(Variable& v) = 0;
  virtual void write(Variable& v, Tensor value) = 0;
};

struct ThreadState {
  int depth = 0;                     // live transform levels on this thread
  RecorderBase* recorder = nullptr;  // set while a graph is recorded
};
extern constinit thread_local ThreadState thread_state;

// Makes a level live on this thread for a scope. Levels nest strictly.
class LevelScope {
 public:
  explicit LevelScope(Level& level) : level_(level) {
    level.depth_ = ++thread_state.depth;
    level.live_ = true;
  }
  ~LevelScope() {
    level_.live_ = false;
    --thread_state.depth;
  }
  LevelScope(const LevelScope&) = delete;
  LevelScope& operator=(const LevelScope&) = delete;

 private:
  Level& level_;
};

// Makes a recorder the bottom of this thread's stack for a scope. What runs inside does so as if no transform were live
// outside it: its levels start at depth 1 again.
class RecorderScope {
 public:
  explicit RecorderScope(RecorderBase& recorder);
  ~RecorderScope();
  RecorderScope(const RecorderScope&) = delete;
  RecorderScope& operator=(const RecorderScope&) = delete;

 private:
  RecorderBase& recorder_;
  ThreadState previous_;
};

// Sees through values whose transform has ended: they count as the value beneath.
inline const Tensor& settle(const Tensor& t) {
  const Tensor* p = &t;
  for (const Level* l; (l = p->value()->level()) && !l->live() && !l->is_recorder();)
    p = &static_cast<const Traced*>(p->value())->inner;
  return *p;
}

}  // namespace evolute
