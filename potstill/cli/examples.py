"""What the help of each command ends with: lines to type."""

from typing import Any

EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": ("up", "up --port 9000 --slots 1 --home /data/potstill"),
    "demo": ("demo", "demo --text"),
    "doctor": ("doctor",),
    "run": ("run examples/digits-teacher.yaml --out ./teacher",),
    "api": ("api --host 0.0.0.0 --port 8400",),
    "worker": ("worker --slots 2",),
    "migrate": ("migrate",),
    "gc": ("gc --dry-run", "gc"),
    "submit": ("submit spec.yaml --watch", "submit --batch examples/digits-teacher.yaml examples/digits-student.yaml"),
    "validate": ("validate spec.yaml", "validate - < spec.yaml"),
    "jobs": ("jobs", "jobs --status running --status queued -n 50", "jobs --metadata team=vision --json"),
    "show": ("show last", "show last --classes", "show last --spec > again.yaml"),
    "watch": ("watch last", "watch last --timeout 600"),
    "logs": ("logs last", "logs last -f", "logs last --type status"),
    "metrics": ("metrics last", "metrics last --name train/loss --json"),
    "compare": ("compare job_0198f2c3d0e17a54b3c2d1e0f9a8b7c6 last",),
    "cancel": ("cancel last",),
    "pause": ("pause last",),
    "resume": ("resume last",),
    "retry": ("retry last", "retry --fresh last"),
    "rm": ("rm --dry-run last", "rm last"),
    "pull": ("pull last", "pull last ./student"),
    "predict": ("predict last digits:17 digits:18", "predict last test.csv:0"),
    "sweeps add": ("sweeps add sweep.yaml --watch",),
    "sweeps validate": ("sweeps validate sweep.yaml",),
    "sweeps ls": ("sweeps ls",),
    "sweeps show": ("sweeps show swp_0198f2c7f6e57f329b8a7c6d5e4f3a2b",),
    "sweeps watch": ("sweeps watch swp_0198f2c7f6e57f329b8a7c6d5e4f3a2b",),
    "sweeps cancel": ("sweeps cancel swp_0198f2c7f6e57f329b8a7c6d5e4f3a2b",),
    "sweeps rm": ("sweeps rm --dry-run swp_0198f2c7f6e57f329b8a7c6d5e4f3a2b",),
    "datasets add": ("datasets add rows.csv", "datasets add train.csv.gz --name sensors"),
    "datasets ls": ("datasets ls",),
    "datasets show": ("datasets show ds_0198f2c1b7a97c10a4b5c6d7e8f90a1b",),
    "datasets rm": ("datasets rm ds_0198f2c1b7a97c10a4b5c6d7e8f90a1b",),
    "models ls": ("models ls",),
    "models show": ("models show mdl_0198f2c5e4f37d219f8e7d6c5b4a3928",),
    "models pull": ("models pull mdl_0198f2c5e4f37d219f8e7d6c5b4a3928 ./model",),
    "models push": ("models push ./model --name sensors-teacher",),
    "models rm": ("models rm mdl_0198f2c5e4f37d219f8e7d6c5b4a3928",),
    "webhooks add": ("webhooks add https://hooks.example.com/potstill", "webhooks add https://hooks.example.com/jobs --event job.failed"),
    "webhooks ls": ("webhooks ls",),
    "webhooks show": ("webhooks show whk_0198f2c9b8a79c5d8e7f6a5b4c3d2e1f",),
    "webhooks set": ("webhooks set whk_0198f2c9b8a79c5d8e7f6a5b4c3d2e1f --disable",),
    "webhooks rotate": ("webhooks rotate whk_0198f2c9b8a79c5d8e7f6a5b4c3d2e1f",),
    "webhooks test": ("webhooks test whk_0198f2c9b8a79c5d8e7f6a5b4c3d2e1f",),
    "webhooks rm": ("webhooks rm whk_0198f2c9b8a79c5d8e7f6a5b4c3d2e1f",),
    "keys create": ("keys create nightly", "keys create dashboard --scope read --expires 90d"),
    "keys ls": ("keys ls",),
    "keys rotate": ("keys rotate key_0198f2bf9d8c7b6aa5b4c3d2e1f0a9b8 --grace 0",),
    "keys revoke": ("keys revoke key_0198f2bf9d8c7b6aa5b4c3d2e1f0a9b8",),
    "login": ("login",),
    "audit": ("audit", "audit --action key.created --json"),
    "projects create": ("projects create vision",),
    "projects ls": ("projects ls",),
    "recipes": ("recipes", "recipes hinton"),
    "losses": ("losses", "losses kl"),
    "architectures": ("architectures", "architectures mlp"),
    "tasks": ("tasks", "tasks text-classification"),
    "schema": ("schema > job.schema.json", "schema sweep"),
}


def put_below(command: Any, name: str) -> None:
    """Ends the help of a command, or of each of a group's, with its examples."""
    for inner, below in getattr(command, "commands", {}).items():
        put_below(below, f"{name} {inner}")
    if name in EXAMPLES:
        command.epilog = "\n".join(["\b", "Examples:", *(f"  potstill {line}" for line in EXAMPLES[name])])
