"""Lines of the kernels, and what they are spoilt to; a test asks that each is caught."""

from __future__ import annotations

# The file, what stands there, and what should not stand there in its place.
SPOILT: dict[str, tuple[str, str, str]] = {
    "columns_read_before_all_are_summed": (
        "density_peaks",
        "sums_of_columns);\n    __syncthreads();",
        "sums_of_columns);",
    ),
    "density_read_before_all_is_there": (
        "density_peaks",
        "}\n    }\n    __syncthreads();\n    for (int i = threadIdx.x; i < kTileRows",
        "}\n    }\n    for (int i = threadIdx.x; i < kTileRows",
    ),
    "margin_one_too_small": (
        "density_peaks",
        "margin = static_cast<int>(peaks.min_distance)",
        "margin = static_cast<int>(peaks.min_distance) - 1",
    ),
    "plateau_with_something_higher": ("find_peaks", "reject(workspace.marks, i);", "continue;"),
    "root_not_told": (
        "find_peaks",
        "reject(workspace.marks, root_of(workspace.parents, i));",
        "reject(workspace.marks, i);",
    ),
    "copies_not_waited_for": ("voting_loss", "wait_for_copies<0>();", ""),
    "gradient_stored_before_all_is_there": (
        "voting_loss",
        "if (kGradient) {\n        __syncthreads();",
        "if (kGradient) {",
    ),
    "leaves_of_the_next_packet": ("voting_loss", "(tree + i);", "(tree + i / 2);"),
}
WARPGROUPS: dict[str, str] = {  # the text, and after the bar what stands there instead
    "weights_not_waited_for": "wait_for(&barriers->full[slot->index], slot->round & 1);|",
    "weights_released_before_they_are_read": "wait_for_products<1>();|wait_for_products<2>();",
    "ring_filled_before_it_is_empty": "wait_for(&barriers->empty[slot.index], ~slot.round & 1);|",
    "map_not_shown": "show_to_instructions();|",
    "map_read_before_all_is_there": "show_to_instructions();\n    sync_warpgroup();|"
    "show_to_instructions();",
    "map_loaded_while_it_is_read": "sync_warpgroup();\n#pragma unroll|\n#pragma unroll",
    "products_not_waited_for": "if constexpr (!F::kSplit) {\n    wait_for_products<0>();|"
    "if constexpr (!F::kSplit) {\n    wait_for_products<2>();",
    "products_not_begun": "begin_products();|",
}
SPOILT |= {flaw: ("vote_head_warpgroups", *text.split("|")) for flaw, text in WARPGROUPS.items()}
