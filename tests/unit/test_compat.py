from components.compat import beam_args

LOCAL = ("--direct_running_mode=in_memory",)


def test_only_workers_elsewhere_are_sent_a_package() -> None:
    assert beam_args(LOCAL) == [*LOCAL, "--sdk_container_image=none"]
    for runner in (("--runner=FlinkRunner",), ("--runner", "FlinkRunner")):
        assert beam_args((*LOCAL, *runner)) == [*LOCAL, *runner]
