/// \file
/// The whole C++ interface of Evolute.
#pragma once

#include "evolute/autodiff.h"
#include "evolute/control.h"
#include "evolute/graph.h"
#include "evolute/linear.h"
#include "evolute/ops.h"
#include "evolute/precision.h"
#include "evolute/sparsity.h"
#include "evolute/tensor.h"

namespace ev = evolute;
