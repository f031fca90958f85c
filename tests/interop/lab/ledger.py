"""What an edge holds for calls, by the names of its metrics: nothing when there are none."""

HELD = [
    "callingedge_calls", "callingedge_sip_call_dialogs", "callingedge_sip_dialogs", "callingedge_sip_client_transactions",
    "callingedge_sip_server_transactions", "callingedge_sip_timers", "callingedge_engines_dialling",
]
HELD_BY_WORKERS = [
    "callingedge_voice_calls", "callingedge_voice_engine_sockets", "callingedge_voice_rtp_sockets",
    "callingedge_voice_ports_in_use",
]


def total(metrics, name):
    """Over all workers."""
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def held(metrics):
    """Whatever is not zero."""
    counted = {name: total(metrics, name) for name in HELD + HELD_BY_WORKERS}
    return {name: count for name, count in counted.items() if count}
