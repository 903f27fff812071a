#!/usr/bin/env python3
"""Benchmarks of the service, side by side with nginx and HAProxy in one run: `make bench`, or

    tests/bench/run.py [--binary build/terminals] [--only throughput,new-user,start-up,memory,crowd] [--targets ours,nginx,haproxy]

Throughput: each proxy on the same core, one after the other and in changing order, in front of the same terminal (a container that the service itself
made, of an image whose server answers at once); load and terminal on another core. Medians of the rounds; what counts are the ratios, as absolute
numbers are the machine's. New users and crowds get real guests, and the same work done by calls to the engine alone is subtracted.

Prints one table and writes build/bench.json. Uses the standard library only."""
import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

import proxies
import scenarios
import throughput
from engine import Engine
from process import cores

TOP = os.path.dirname(os.path.dirname(proxies.HERE))
UPSTREAM_IMAGE = "terminals-bench-upstream:1"
SCENARIOS = ("throughput", "new-user", "start-up", "memory", "crowd")
PREFIX = "bench-"


def parse_options(arguments):
    def names(allowed):
        def split(text):
            chosen = text.split(",")
            unknown = [name for name in chosen if name not in allowed]
            if unknown:
                raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(allowed)}")
            return chosen
        return split

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(TOP, "build", "terminals"), help="the program (build/terminals)")
    parser.add_argument("--guest", default="open-terminal:local", help="image of real guests (open-terminal:local)")
    parser.add_argument("--only", type=names(SCENARIOS), default=list(SCENARIOS), help="scenarios, comma-separated")
    parser.add_argument("--targets", type=names(("ours", "nginx", "haproxy")), default=["ours", "nginx", "haproxy"],
                        help="proxies to compare, comma-separated")
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")], default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=4, help="per proxy and number of connections (4)")
    parser.add_argument("--seconds", type=int, default=2, help="of each round (2)")
    parser.add_argument("--repeat", type=int, default=5, help="of single measurements such as a first request (5)")
    parser.add_argument("--limit", type=int, default=300, help="seconds for everything; what is then not done is left out (300)")
    parser.add_argument("--output", default=os.path.join(TOP, "build", "bench.json"))
    parser.add_argument("--anyway", action="store_true", help="also on an engine that has terminals already, which the service then adopts")
    return parser.parse_args(arguments)


def check_machine(options, engine):
    """Everything that is missing, at once."""
    wanted = [("wrk", "wrk"), ("taskset", "util-linux"), ("gcc", "gcc")]
    wanted += [(name, package) for name, package in (("nginx", "nginx-light"), ("haproxy", "haproxy")) if name in options.targets]
    problems = [f"{tool} is missing: install {package}" for tool, package in wanted if not shutil.which(tool)]
    if "ours" in options.targets and not os.access(options.binary, os.X_OK):
        problems.append(f"{options.binary} is missing: make build")
    if {"new-user", "crowd"} & set(options.only) and not engine.has_image(options.guest):
        problems.append(f"the image {options.guest} is missing: make guest-image")
    others = [name for _, name, user in engine.terminals() if not user.startswith(PREFIX)]
    if others and not options.anyway:
        problems.append(f"the engine has {len(others)} terminals already ({others[0]}, …): run with --anyway to let the service adopt them")
    if problems:
        sys.exit("bench: " + "\nbench: ".join(problems))


def build_upstream(engine, directory):
    """The image of the fast terminal: one static program."""
    program = os.path.join(directory, "upstream")
    subprocess.run(["gcc", "-O2", "-static", "-D_GNU_SOURCE", "-o", program,
                    os.path.join(proxies.HERE, "upstream", "upstream.c")], check=True)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.add(program, "upstream")
    engine.import_image(UPSTREAM_IMAGE, tar.getvalue(), ['ENTRYPOINT ["/upstream"]', "EXPOSE 8000"])
    return UPSTREAM_IMAGE


class OutOfTime(Exception):
    """The limit of the whole run is over."""


def raise_out_of_time(*_):
    raise OutOfTime


def run_scenario(name, options, engine, directory, image, proxy_core, load_core):
    if name == "throughput":
        return throughput.run(options, engine, directory, image, proxy_core, load_core)
    if name == "new-user":
        return scenarios.new_user(options, engine, directory, proxy_core)
    if name == "start-up":
        return scenarios.start_up(options, engine, directory, proxy_core, image)
    if name == "memory":
        return scenarios.memory(options, directory, proxy_core, image)
    return scenarios.crowd(options, engine, directory, proxy_core)


def run_all(options, engine, directory):
    proxy_core, load_core = cores()
    results = {"cores": {"proxy": proxy_core, "load": load_core}, "versions": proxies.versions(options.binary), "errors": {}}
    image = build_upstream(engine, directory)
    if "ours" not in options.targets:
        options.only = [name for name in options.only if name == "throughput"]
    for name in [name for name in SCENARIOS if name in options.only]:
        began = time.monotonic()
        print(f"bench: {name} …", end=" ", flush=True, file=sys.stderr)
        try:
            results[name] = run_scenario(name, options, engine, directory, image, proxy_core, load_core)
        except OutOfTime:
            results["errors"][name] = f"not done within {options.limit} s"
            return results
        except Exception as error:      # a scenario that fails does not take the others with it
            results["errors"][name] = f"{type(error).__name__}: {error}"
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return results


def throughput_table(found):
    yield f"{'c':>4} {'proxy':<8} {'requests/s':>10} {'CPU µs':>7} {'p50 µs':>7} {'p99 µs':>7} {'failed':>6}   ours: requests/s, CPU"
    for connections, by_name in found["connections"].items():
        for name, row in by_name.items():
            ratios = [f"{row[f'rps_vs_{other}']:.2f}, {row[f'cpu_vs_{other}']:.2f} of {other}"
                      for other in ("haproxy", "nginx") if f"rps_vs_{other}" in row]
            yield (f"{connections:>4} {name:<8} {row['rps']:>10.0f} {row['cpu_us']:>7.1f} {row['p50_us']:>7.0f} {row['p99_us']:>7.0f} "
                   f"{row['failed']:>6}   {'; '.join(ratios)}").rstrip()


def single_lines(results):
    if found := results.get("new-user"):
        yield (f"new user's first request: {found['total_ms']:.0f} ms, engine and guest alone {found['floor_ms']:.0f} ms: "
               f"{found['overhead_ms']:+.1f} ms of ours (best against best {found['best_overhead_ms']:+.1f})")
    if found := results.get("start-up"):
        yield f"start-up to /ready: {found['ready_ms']:.0f} ms; with 200 containers {found['ready_ms_200_containers']:.0f} ms"
    if found := results.get("memory"):
        yield (f"resident memory: {found['rss_mb']:.1f} MB ({found['own_mb']:.1f} without shared libraries); with 10000 known terminals "
               f"{found['rss_mb_10000_terminals']:.1f} MB ({found['own_mb_10000_terminals']:.1f})")
    if found := results.get("crowd"):
        yield (f"{found['users']} new users at once: all after {found['all_ms'] / 1e3:.1f} s, median wait {found['median_wait_ms'] / 1e3:.1f} s, "
               f"longest {found['longest_wait_ms'] / 1e3:.1f} s; engine and guests alone {found['floor_ms'] / 1e3:.1f} s")
    for name, error in results["errors"].items():
        yield f"{name} FAILED: {error}"


def main(arguments):
    options = parse_options(arguments)
    engine = Engine()
    check_machine(options, engine)
    had_network = "terminals" in engine.networks()
    directory = tempfile.mkdtemp(prefix="terminals-bench-")
    os.chmod(directory, 0o755)          # nginx's worker is another user
    signal.signal(signal.SIGALRM, raise_out_of_time)
    signal.alarm(options.limit)
    try:
        results = run_all(options, engine, directory)
    finally:
        signal.alarm(0)
        engine = Engine()               # the other's answer may be half read
        engine.clean(PREFIX)
        if not had_network and "terminals" in engine.networks():
            engine.call("DELETE", "/networks/terminals", ok=(403, 404, 409))
        shutil.rmtree(directory, ignore_errors=True)
    print("\n".join([*(throughput_table(results["throughput"]) if "throughput" in results else ()), *single_lines(results)]))
    os.makedirs(os.path.dirname(options.output), exist_ok=True)
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=2)
    return 1 if results["errors"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
