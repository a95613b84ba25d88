"""How long a store takes to load, from a few samples of its device: ``tune --predict``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass

from dmsnap.library.source import Source
from dmsnap.library.tuning.defaults import PREDICT_SECONDS
from dmsnap.library.tuning.measured_device import BadMeasure, open_measured
from dmsnap.library.tuning.own_load import LoadEstimate, OwnLoad, load_by_dmsnap
from dmsnap.library.tuning.trials import DepthTime, Progress, Trials, depths_for
from dmsnap.store.prefetch import KERNEL_DEPTH

__all__ = ["Prediction", "predict", "predicted", "until_after"]

ROUNDS = 9
THREADS_SECONDS = 500e-6
"""A read that ends sooner may take less time than to hand it to a thread, on a busy machine."""
LOAD_SHARE = 0.4
"""Of the time: for the load by dmsnap, which tells how many areas there are."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """How long a store takes to load.

    Attributes:
        name: What was measured.
        chunk_size_bytes: The chunk size.
        areas: Metadata areas that a load reads.
        areas_known: Whether that is certain: they were counted, or asked for; else it is a guess by some of them.
        store: Which store is meant: ``own``, the one there; ``asked``, as asked for; ``none`` or ``invalid``, one that
            would fill the device, which has none, or an invalid one.
        page_cache: How samples were kept from it: ``direct`` (they went past it), ``dropped`` (each range was dropped
            from it first), ``none`` (they were not) or ``memory`` (the file lies in memory: it has no device).
        kernel_before_prefetch: In Linux before 3.14, which reads one area after another; None where the time was too
            short for a sample.
        kernel: In Linux since 3.14, which has 12 more under way; None likewise.
        dmsnap: By dmsnap; None likewise.
        dmsnap_loaded: Whether that is no prediction: the store was loaded.
        sampled_areas: Areas read for all this, besides those of the load by dmsnap.
        reread_areas: How many of them had been read before, as the device has no others: a drive's own cache may have
            made them faster.
        seconds: What it took to find out.
    """

    name: str
    chunk_size_bytes: int
    areas: int
    areas_known: bool
    store: str
    page_cache: str
    kernel_before_prefetch: LoadEstimate | None
    kernel: LoadEstimate | None
    dmsnap: LoadEstimate | None
    dmsnap_loaded: bool
    sampled_areas: int
    reread_areas: int
    seconds: float

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        return asdict(self)


def predict(
    cow: Source, *, time_limit_seconds: float = PREDICT_SECONDS, seed: int = 0, progress: Progress | None = None
) -> Prediction:
    """Predicts how long a kernel needs to load a store, which is what activating its snapshot waits for, and dmsnap.

    It only reads: all metadata where that is quick, else a part of it, past the page cache. Reads that are under way
    when the time is over are waited for.

    Args:
        cow: The COW store: a path, or a device, which is read as it is.
        time_limit_seconds: How long it may take.
        seed: Of the order and the places of samples.
        progress: Called as ``progress(done, total)``, in trials.

    Raises:
        NothingToLoad: The store is invalid.
        BadMeasure: No time.
        DmsnapError: As `open_snapshot`.
    """
    with ExitStack() as stack:
        measured = open_measured(cow, stack, need_store=True)
        clock = measured.device.clock
        started = clock()
        until = until_after(started, time_limit_seconds)

        share = started + LOAD_SHARE * time_limit_seconds
        own = load_by_dmsnap(measured, share, until, longest=4 * KERNEL_DEPTH, seed=seed)
        depths = depths_for(own.measured.areas, measured.chunk_size_bytes)
        trials = Trials(
            own.measured, own.places, [depths[0], kernel_rung(depths)], until - own.again_seconds, seed=seed
        )
        trials.run(ROUNDS, progress)
        return predicted(own.repeated(trials.areas, until), trials, depths, clock() - started)


def until_after(started: float, seconds: float) -> float:
    """Returns when a time limit is over.

    Raises:
        BadMeasure: It is none.
    """
    if not seconds > 0:
        raise BadMeasure(f"a time limit of {seconds} seconds", hint="give more than none")
    return started + seconds


def kernel_rung(depths: list[int]) -> int:
    """Returns the depth that stands for the kernel's, in a list that ends early where there are few areas."""
    return max(depth for depth in depths if depth <= KERNEL_DEPTH)


def predicted(own: OwnLoad, trials: Trials, depths: list[int], seconds: float) -> Prediction:
    """Makes a prediction of what was measured so far: the load by dmsnap, and trials of (some of) ``depths``."""
    measured = own.measured
    found = {result.depth: result for result in trials.results()}
    first, kernel = found.get(depths[0]), found.get(kernel_rung(depths))
    if first and kernel and first.area_seconds < min(kernel.area_seconds, THREADS_SECONDS):
        kernel = first  # reading ahead, which costs a kernel nothing, takes threads here: it only seems slower
    return Prediction(
        name=measured.device.name,
        chunk_size_bytes=measured.chunk_size_bytes,
        areas=measured.areas,
        areas_known=own.areas_known,
        store=measured.store,
        page_cache=measured.page_cache,
        kernel_before_prefetch=_scaled(first, measured.areas, first),
        kernel=_scaled(kernel, measured.areas, first),
        dmsnap=own.time(),
        dmsnap_loaded=own.complete,
        sampled_areas=trials.areas + (own.loading.areas if own.rehearsed else 0),
        reread_areas=own.places.reread,
        seconds=seconds,
    )


def _scaled(result: DepthTime | None, areas: int, alone: DepthTime | None) -> LoadEstimate | None:
    """The time for so many areas, and for the header before them: one read with nothing else under way."""
    if result is None:
        return None
    header = alone or DepthTime(0, 0, 0.0, 0.0, 0.0)
    return LoadEstimate(
        header.area_seconds + areas * result.area_seconds,
        header.least_area_seconds + areas * result.least_area_seconds,
        header.most_area_seconds + areas * result.most_area_seconds,
    )
