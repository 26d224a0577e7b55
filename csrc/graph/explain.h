// What a compiled function does, for people: as text and as a drawing.
#pragma once

#include <iosfwd>

#include "graph/plan.h"

namespace evolute {

// The work of one node, or of one step of a plan.
struct Cost {
  double bytes = 0;  // read and written
  double flops = 0;  // additions and multiplications of matrix products; one per element and function of all else
};
Cost cost_of(const Graph& graph, const Graph::Node& node);
Cost cost_of(const Plan& plan, const Step& step);

// The passes and what each changed, the graph, the steps with their bytes and flops, the memory.
void explain(std::ostream& s, const Plan& plan);

// In the language of Graphviz: operations as boxes, arrays as arrows, what runs as one loop or in row blocks framed.
void write_dot(std::ostream& s, const Plan& plan);

}  // namespace evolute
