// The recorded form of a function: a list of primitives in execution order, each value written once.
#pragma once

#include <memory>
#include <vector>

#include "ops/op.h"

namespace evolute {

using ValueId = std::int32_t;

struct Graph {
  struct Node {
    const Op* op;
    AttrsPtr attrs;
    std::vector<ValueId> in, out;
  };
  struct Constant {
    ValueId id;
    Tensor value;
  };
  struct VariableUse {
    Ref<Variable> variable;
    Aval aval;
    ValueId in;        // its value when the call begins
    ValueId out = -1;  // the value written back after the call; -1 if it is only read
  };

  std::vector<Aval> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<Constant> constants;
  std::vector<VariableUse> variables;
};

// Values of the graph's variables before a run, and their replacement after it: takes what was written off the end of
// `results`. Written last, so that a failing run leaves variables as they were.
std::vector<Tensor> read_variables(const Graph& graph);
void write_variables(const Graph& graph, std::vector<Tensor>& results);

// Whether the variables still have the shapes, dtypes and devices they were recorded with.
bool variables_match(const Graph& graph);

// Removes nodes whose results nobody reads.
void prune(Graph& graph);

// One line per node, for people.
std::ostream& operator<<(std::ostream& s, const Graph& graph);

}  // namespace evolute
