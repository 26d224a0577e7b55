"""What the instructions of the elementwise kernels allow beside memory, counted in their machine code. Needs no GPU.

    pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm   # where the CUDA toolkit has no cuobjdump
    PATH=$(echo $VIRTUAL_ENV/lib/python3*/site-packages/nvidia/cu13/bin):$PATH
    python bench/gpu/instructions.py …/libevolute_cuda.so

Of each kernel the cheapest way round its loop with a read and a write of 16 bytes is taken: what is only done for large
arguments, infinities and the like is left out, cotangents are one number for all elements, and nothing waits. The
cycles that each kind of instruction takes there are put beside those that the bytes take: where the headroom is below
1, the kernel cannot be as fast as memory, whatever else is done.
"""

import argparse
import heapq
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path

# H100 SXM: bytes that a copy moves in a cycle of a multiprocessor (3.0 TB/s; 132 of them at 1.98 GHz, as the 67 Tflop/s
# of the data sheet say), and results a cycle of each kind of instruction (CUDA C++ Programming Guide, "Throughput of
# Native Arithmetic Instructions", compute capability 9.0).
BYTES = 3.0e12 / 132 / 1.98e9
UNITS = {
    "issue": 128,
    "float32": 128,
    "float64": 64,
    "integer": 64,
    "special": 16,
    "conversion": 64,
}
KINDS = {
    "float32": "FFMA FADD FMUL",
    "float64": "DFMA DADD DMUL DSETP",
    "integer": "IMAD IADD3 VIADD LOP3 SHF LEA ISETP FSETP FSEL SEL FMNMX VIMNMX IMNMX PRMT",
    "special": "MUFU",
    "conversion": "F2I I2F F2F FRND",
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}


@dataclass
class Instruction:
    address: int
    guarded: bool
    opcode: str
    target: int | None

    @property
    def name(self) -> str:
        return self.opcode.partition(".")[0]


@dataclass
class Block:
    body: list[Instruction]
    next: list[int] = field(default_factory=list)

    def moves(self, name: str) -> bool:
        return any(i.name == name and ".128" in i.opcode for i in self.body)


def disassembled(library: Path, architecture: str) -> Iterator[tuple[str, list[Instruction]]]:
    """Yield the name of each kernel with its instructions."""
    command = ["cuobjdump", "-sass", "-arch", architecture, str(library)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = ""
        code: list[Instruction] = []
        for line in process.stdout:
            if "Function :" in line:
                if name:
                    yield name, code
                name, code = line.split()[-1], []
            elif found := re.match(r"\s+/\*([0-9a-f]{4,})\*/\s+(@\S+\s+)?([A-Z][\w.]*)([^;]*);", line):
                address, guard, opcode, operands = found.groups()
                target = re.search(r"0x([0-9a-f]+)\s*$", operands) if opcode.startswith(("BRA", "CALL")) else None
                guarded = bool(guard) or bool(re.match(r"\s*!?U?P\d", operands))
                code.append(Instruction(int(address, 16), guarded, opcode, int(target[1], 16) if target else None))
        if name:
            yield name, code
    if process.returncode:
        sys.exit(f"cuobjdump failed on {library}")


def blocks_of(code: list[Instruction]) -> dict[int, Block]:
    """Return the basic blocks by the address of their first instruction."""
    starts = {code[0].address} | {i.target for i in code if i.target is not None}
    starts |= {b.address for a, b in pairwise(code) if a.name in ("BRA", "EXIT", "RET", "CALL")}
    blocks: dict[int, Block] = {}
    for i in code:
        if i.address in starts:
            blocks[i.address] = current = Block([])
        current.body.append(i)
    following = dict(pairwise(blocks))
    for start, block in blocks.items():
        last = block.body[-1]
        if last.name == "BRA" and last.target is not None:
            block.next.append(last.target)
        ends = last.name in ("BRA", "EXIT", "RET") and not last.guarded
        if start in following and not ends:
            block.next.append(following[start])
    return blocks


class Kernel:
    """The ways through the code of one kernel."""

    def __init__(self, code: list[Instruction]) -> None:
        self.blocks = blocks_of(code)
        self.called: dict[int, list[Instruction]] = {}

    def round(self) -> list[Instruction] | None:
        """Return the cheapest way round the outermost loop with a read and a write of 16 bytes."""
        back = [(start - to, to, start) for start, block in self.blocks.items() for to in block.next if to <= start]
        if not back:
            return None
        _, head, latch = max(back)
        return self.cheapest(head, lambda at, moved: at == latch and moved == {"LDG", "STG"})

    def cheapest(self, start: int, done: Callable[[int, set[str]], bool]) -> list[Instruction] | None:
        """Return the cheapest way from a block to one where `done`, which is told what has moved 16 bytes."""
        queue: list[tuple[int, int, tuple[str, ...], tuple[int, ...]]] = [(0, start, (), ())]
        seen = set()
        while queue:
            cost, at, before, way = heapq.heappop(queue)
            block, way = self.blocks[at], (*way, at)
            moved = {*before, *(name for name in ("LDG", "STG") if block.moves(name))}
            if (at, key := tuple(sorted(moved))) in seen:
                continue
            seen.add((at, key))
            if done(at, moved):
                return [i for passed in way for i in self.executed(passed)]
            for to in block.next:
                if to > start:
                    heapq.heappush(queue, (cost + len(self.executed(at)), to, key, way))
        return None

    def executed(self, start: int) -> list[Instruction]:
        """Return the instructions of a block, and of the function that it may call at its end."""
        body = self.blocks[start].body
        function = body[-1].target if body[-1].name == "CALL" else None
        if function is None:
            return body
        if function not in self.called:
            way = self.cheapest(function, lambda at, _: self.blocks[at].body[-1].name == "RET")
            assert way is not None, f"a function at {function:#x} that does not return"
            self.called[function] = way
        return body + self.called[function]


@dataclass
class Result:
    """What one element takes, and how many times its instructions fit into the time of its bytes."""

    bytes: int
    instructions: float
    limit: str
    headroom: float


def judged(code: list[Instruction], item: int) -> Result:
    width = 16 // item
    count = Counter(KIND_OF.get(i.name, "other") for i in code)
    count["issue"] = len(code)
    moved = sum(".128" in i.opcode and i.name in ("LDG", "STG") for i in code) * item
    cycles = {kind: count[kind] / width / rate for kind, rate in UNITS.items()}
    limit = max(cycles, key=lambda kind: cycles[kind])
    return Result(moved, len(code) / width, limit, round(moved / BYTES / cycles[limit], 2))


def compiler() -> str:
    """Return the release of the compiler that is installed."""
    text = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    return text.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="the plug-in, libevolute_cuda.so")
    parser.add_argument("--architecture", default="sm_90")
    parser.add_argument("--below", type=float, default=1.0, help="kernels to print: those with less headroom")
    parser.add_argument("--json", type=Path, help="where to write all of them")
    options = parser.parse_args()
    if not shutil.which("cuobjdump"):
        sys.exit("cuobjdump is not in PATH: see --help for where to get it")
    names, results = [], []
    for mangled, code in disassembled(options.library, options.architecture):
        if "elementwise_kernel" not in mangled:
            continue
        if way := Kernel(code).round():
            names.append(mangled)
            results.append(judged(way, 8 if "kernelId" in mangled else 4))
    plain = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    kernels = {}
    for name, result in zip(plain.splitlines(), results, strict=True):
        found = re.search(r"elementwise_kernel<(float|double), .*?(\w+)<.*?(\w+), (float|double)> ?>", name)
        if found:  # not of integers
            kernels[f"{found[3]} {found[2]} {found[1]}"] = result
    rows = sorted(kernels.items(), key=lambda row: row[1].headroom)
    low = [row for row in rows if row[1].headroom < options.below]
    print(f"{len(rows)} kernels, {len(low)} with a headroom below {options.below}")
    for name, r in low:
        print(f"{r.headroom:5} {name}: {r.instructions} instructions, {r.bytes} bytes, by {r.limit}")
    if options.json:
        head = {"date": str(date.today()), "architecture": options.architecture, "compiler": compiler()}
        lines = [json.dumps({"kernel": name, **asdict(r)}) for name, r in rows]
        options.json.write_text(json.dumps(head)[:-1] + ', "kernels": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
