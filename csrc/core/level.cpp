#include "core/level.h"

namespace evolute {

constinit thread_local ThreadState thread_state;

RecorderScope::RecorderScope(RecorderBase& recorder)
    : recorder_(recorder), previous_(std::exchange(thread_state, ThreadState{0, &recorder})) {
  recorder.live_ = true;
}
RecorderScope::~RecorderScope() {
  recorder_.live_ = false;
  thread_state = previous_;
}

}  // namespace evolute
