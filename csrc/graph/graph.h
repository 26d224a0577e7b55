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
    std::vector<ValueId> last_uses;  // values that no later node or output reads
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

// Runs the graph on concrete inputs and on the values of its variables (`read_variables`). Gives its outputs, followed by
// the values to be written back (`write_variables`). Touches nothing else, so it may run beside other threads.
std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs, std::span<const Tensor> variables);
std::vector<Tensor> read_variables(const Graph& graph);
// Takes the written values off the end of `results`.
void write_variables(const Graph& graph, std::vector<Tensor>& results);
// All three in turn. Variables are written last, so that a failing run leaves them as they were.
std::vector<Tensor> execute(const Graph& graph, std::span<const Tensor> inputs);

// Whether the variables still have the shapes, dtypes and devices they were recorded with.
bool variables_match(const Graph& graph);

// Removes nodes whose results nobody reads, and notes where each value is last used.
void prune(Graph& graph);

// One line per node, for people.
std::ostream& operator<<(std::ostream& s, const Graph& graph);

}  // namespace evolute
