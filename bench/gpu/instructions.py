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
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
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
CALL = 200  # instructions of a function that is called, about: of pow in float64, mostly


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

    @property
    def cost(self) -> int:
        return len(self.body) + CALL * sum(i.name == "CALL" for i in self.body)

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
                target = re.search(r"0x([0-9a-f]+)\s*$", operands) if opcode.startswith("BRA") else None
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
        if last.target is not None:
            block.next.append(last.target)
        ends = last.name in ("BRA", "EXIT", "RET") and not last.guarded
        if start in following and not ends:
            block.next.append(following[start])
    return blocks


def cheapest_round(blocks: dict[int, Block]) -> list[Instruction] | None:
    """Return the instructions of the cheapest way round the outermost loop with a read and a write of 16 bytes."""
    back = [(start - to, to, start) for start, block in blocks.items() for to in block.next if to <= start]
    if not back:
        return None
    _, head, latch = max(back)
    queue: list[tuple[int, int, bool, bool, tuple[int, ...]]] = [(0, head, False, False, ())]
    seen = set()
    while queue:
        cost, at, read, written, way = heapq.heappop(queue)
        block = blocks[at]
        read, written, way = read or block.moves("LDG"), written or block.moves("STG"), (*way, at)
        if (at, read, written) in seen:
            continue
        seen.add((at, read, written))
        if at == latch and read and written:
            return [i for start in way for i in blocks[start].body]
        for to in block.next:
            if to > head:
                heapq.heappush(queue, (cost + block.cost, to, read, written, way))
    return None


def judged(code: list[Instruction], item: int) -> dict[str, object]:
    """Return what one element takes, and how many times its instructions fit into the time of its bytes."""
    width = 16 // item
    count: Counter[str] = Counter()
    for i in code:
        count[KIND_OF.get(i.name, "other")] += 1
        count["issue"] += 1 + (CALL if i.name == "CALL" else 0)
    moved = sum(".128" in i.opcode and i.name in ("LDG", "STG") for i in code) * item
    cycles = {kind: count[kind] / width / rate for kind, rate in UNITS.items()}
    limit = max(cycles, key=lambda kind: cycles[kind])
    return {
        "bytes": moved,
        "instructions": count["issue"] / width,
        "limit": limit,
        "headroom": round(moved / BYTES / cycles[limit], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="the plug-in, libevolute_cuda.so")
    parser.add_argument("--architecture", default="sm_90")
    parser.add_argument("--below", type=float, default=1.5, help="kernels to print: those with less headroom")
    parser.add_argument("--json", type=Path, help="where to write all of them")
    options = parser.parse_args()
    if not shutil.which("cuobjdump"):
        sys.exit("cuobjdump is not in PATH: see --help for where to get it")
    names, results = [], []
    for mangled, code in disassembled(options.library, options.architecture):
        if "elementwise_kernel" not in mangled:
            continue
        if way := cheapest_round(blocks_of(code)):
            names.append(mangled)
            results.append(judged(way, 8 if "kernelId" in mangled else 4))
    plain = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    kernels: dict[str, dict[str, object]] = defaultdict(dict)
    for name, result in zip(plain.splitlines(), results, strict=True):
        found = re.search(r"elementwise_kernel<(float|double), .*?(\w+)<.*?(\w+), (float|double)> ?>", name)
        if found:  # not of integers
            kernels[f"{found[3]} {found[2]} {found[1]}"] = result
    order = sorted(kernels, key=lambda k: float(str(kernels[k]["headroom"])))
    print(f"{len(kernels)} kernels; headroom below {options.below}:")
    for name in order:
        r = kernels[name]
        if float(str(r["headroom"])) < options.below:
            print(f"{r['headroom']:5} {name}: {r['instructions']} instructions, {r['bytes']} bytes, by {r['limit']}")
    if options.json:
        options.json.write_text(json.dumps({name: kernels[name] for name in order}, indent=1) + "\n")


if __name__ == "__main__":
    main()
