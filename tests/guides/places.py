"""Where the commands of the guides are run: shorter forms, other tests that run them, and what no machine here can."""

SMALL = (
    " --set encoder.height=32 --set encoder.width=16 --set encoder.options.dim=32 --set encoder.options.image_width=8"
    " --set encoder.options.rows=4 --set encoder.options.text_width=32 --set schedule.epochs=2 --set batch=8"
)
BRIEF = " --row baseline --set schedule.epochs=1 --set batch=16"

SHORTER: dict[str, tuple[str, ...]] = {
    # A few people instead of thousands, one epoch instead of ten: the same verbs with the same options.
    "descry synthesise data/synthetic": ("descry synthesise data/synthetic --train 24 --val 6 --test 6 --workers 2",),
    "descry train compact-synthetic": ("descry train compact-synthetic" + SMALL,),
    "descry train compact-synthetic --data data/ICFG-PEDES --set data.format=icfg_pedes --out runs/icfg": (
        "descry train compact-synthetic --data data/ICFG-PEDES --set data.format=icfg_pedes --out runs/icfg" + SMALL,
    ),
    "torchrun --nproc_per_node 2 -m training train compact-synthetic": (
        "torchrun --nproc_per_node 2 -m training train compact-synthetic --out runs/two --device cpu" + SMALL,
    ),
    "python -m training synthesise-pictures data/pictures": (
        "python -m training synthesise-pictures data/pictures --train 4 --test 2",
    ),
    "python -m training ablate hkgr-small-synthetic --data data/synthetic --people 1500 --seeds 0,1,2": (
        "python -m training ablate hkgr-small-synthetic --data data/synthetic --people 16 --seeds 0" + BRIEF,
    ),
    # The synthetic people have the form of CUHK-PEDES.
    "python -m training parse data/CUHK-PEDES": ("python -m training parse data/synthetic",),
    'descry watch recordings/ --camera "gate 4"': (
        'descry watch recordings/ --camera "gate 4" --once --settle 0 --every 0.1',
    ),
    # No weights can be fetched here; another checkpoint stands in for them.
    "descry models register --open-clip ViT-B-16-quickgelu --pretrained openai --activate": (
        "descry models register clip",
    ),
    "export DESCRY_MILVUS_URI=http://milvus.example:19530 DESCRY_MILVUS_TOKEN=user:password": (
        "export DESCRY_MILVUS_URI=milvus.db",
    ),
    "export DESCRY_VECTOR_ENGINE=milvus": ('DESCRY_VECTOR_ENGINE=milvus descry search "a man in a blue jacket"',),
    # A retraining takes minutes; what it would be is said at once.
    "descry retrain --feedback": ("descry retrain --feedback --dry-run",),
    "descry retrain --activate": ("descry retrain --activate --dry-run",),
    "descry tune": ("descry tune --only torch-fp32 --seconds 0.05",),
}

REFUSED: dict[str, str] = {
    # Forty pictures are fewer than a batch; the refusal says so.
    "descry retrain --dry-run": "retraining_data",
    "descry retrain --feedback --dry-run": "retraining_data",
    "descry retrain --activate --dry-run": "retraining_data",
}

ELSEWHERE: dict[str, str] = {
    r"make demo": "tests/end_to_end/test_service_process.py",
    r"curl .*": "tests/guides/test_api.py",
    r"descry serve": "tests/guides/test_api.py",
    r"DESCRY_DEVICE=cuda:1 descry worker": "tests/end_to_end/test_jobs_process.py",
    r"python -m training describe (styles|ask|totals) .*": "tests/training/captioning",
    r"export DESCRY_(IMAGE_STORE|DESCRIBE_KEY)=.*|export AWS_.*": "tests/contract/test_image_stores.py",
    r"python -m benchmarks\..*": "tests/guides/test_readme.py",
}

NOT_HERE: dict[str, str] = {
    r"make test": "this is one of its tests",
    r"source .*|uv pip install .*": "installs, or enters what was installed",
    r"docker .*|cp deploy/env.example .*": "no container engine: `python -m deploy.rehearse` runs the image's commands",
    r"python -m training (ablate bdam.*|(synthesise|train) .*towers.*)": "hours; figures in docs/results.md",
}
