"""The variables that `accelerate launch` hands to its processes, made by accelerate itself: names cannot drift."""

import os
from contextlib import contextmanager

from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

PREFIXES = ("ACCELERATE_", "FSDP_")


def deepspeed_environment(*words):
    """Of `accelerate launch --use_deepspeed WORDS -m hicra_cli`; DeepSpeed itself need not be there."""
    with _nothing_set():
        return _set_by(prepare_deepspeed_cmd_env(_arguments("--use_deepspeed", *words))[1])


def configured_environment(path):
    """Of `accelerate launch --config_file PATH -m hicra_cli`, where PATH is for DeepSpeed."""
    with _nothing_set():
        return _set_by(prepare_deepspeed_cmd_env(_arguments("--config_file", str(path)))[1])


def fsdp_environment(*words):
    """Of `accelerate launch --use_fsdp WORDS -m hicra_cli`."""
    with _nothing_set():
        return _set_by(prepare_multi_gpu_env(_arguments("--use_fsdp", *words)))


@contextmanager
def _nothing_set():
    """accelerate adds to a copy of the environment as it is."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIXES)}
    try:
        yield
    finally:
        os.environ.update(kept)


def _arguments(*words):
    parser = launch_command_parser()
    common = ("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
    # What stands last rules.
    arguments = parser.parse_args([*common, "--main_process_port", "0", *words, "-m", "hicra_cli"])
    arguments, _, _ = _validate_launch_command(arguments)
    arguments.deepspeed_fields_from_accelerate_config = ""
    return arguments


def _set_by(environment):
    return {name: value for name, value in environment.items() if name.startswith(PREFIXES)}
