"""launch/gke_jobset.sh: its calls of kubectl and xpk, validated by Kubernetes' schemas and compared with xpk's JobSets."""

import os
import pathlib
import re
import subprocess

import pytest
import yaml

from tests.launch.rig import LINE, ROOT

SCRIPT = ROOT / "launch" / "gke_jobset.sh"
XPK = pathlib.Path(os.environ.get("XPK_VENV", ROOT / ".venv-xpk")).resolve()
OURS = "--multihost", "--on_damage=fallback"
AWKWARD = "--config.data.dir=a b'c\"d$HOME $(HOME) $$;*\\é"
TRAINING = ["--", "--config=quickstart", "--workdir=gs://bucket/run", AWKWARD]
# Writes its arguments and stdin to one file per command; answers queries with the content of `there`.
RECORDER = """#!/bin/bash
[[ "$*" != *"get jobset deep --ignore-not-found"* ]] || {{ cat "$CLOUD/there"; exit; }}
printf '%s\\n' "$@" >"$CLOUD/{0}"
[[ "$*" != *--filename=-* ]] || cat >"$CLOUD/{0}.stdin"
"""


@pytest.fixture
def gke(rig):
    """The rig with a recording kubectl and xpk; gke.gke(verb, ...) runs the launcher."""
    r = rig()
    for name in ("kubectl", "xpk"):
        (r.folder / "bin" / name).write_text(RECORDER.format(name))
        (r.folder / "bin" / name).chmod(0o755)
    (r.cloud / "there").write_text("")
    r.gke = lambda *words: r.execute([SCRIPT, *words])
    return r


def manifest(r, type_="v5litepod-16", *options):
    done = r.gke("manifest", "deep", f"--type={type_}", "--image=europe/p/biggan:1", *options, *TRAINING)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def pod_of(jobset):
    (job,) = jobset["spec"]["replicatedJobs"]
    return job["template"]["spec"], job["template"]["spec"]["template"]["spec"]


def test_create_prints_the_cost_and_passes_the_jobset_to_kubectl(gke):
    create = ["create", "deep", "--type=v5litepod-16", "--image=europe/p/biggan:1", "--context=mine"]
    done = gke.gke(*create, *TRAINING)
    assert done.returncode == 2 and LINE in done.stderr and "--yes" in done.stderr
    assert not (gke.cloud / "kubectl").exists()
    done = gke.gke(*create, "--yes", *TRAINING)
    assert done.returncode == 0, done.stderr
    assert (
        f"watch: {SCRIPT} attach deep --context=mine; to delete it: {SCRIPT} delete deep --context=mine" in done.stderr
    )
    assert (gke.cloud / "kubectl").read_text().split() == ["--context=mine", "apply", "--filename=-"]
    assert yaml.safe_load((gke.cloud / "kubectl.stdin").read_text()) == manifest(gke)


@pytest.mark.parametrize(
    "there, status, sentence",
    [
        ("deep", 0, "deep exists already; nothing was created"),
        ("deep StartupPolicyCompleted", 0, "deep exists already; nothing was created"),
        ("deep StartupPolicyCompleted Completed", 2, "deep has ended (StartupPolicyCompleted Completed)"),
        ("deep Failed", 2, f"delete it first: {SCRIPT} delete deep --namespace=ours"),
        (None, 2, "kubectl failed"),
    ],
)
def test_an_existing_jobset_is_left_alone_an_ended_one_refused(gke, there, status, sentence):
    (gke.cloud / "there").unlink() if there is None else (gke.cloud / "there").write_text(there)
    done = gke.gke("create", "deep", "--type=v4-8", "--image=i", "--namespace=ours", "--yes", *TRAINING)
    assert done.returncode == status and sentence in done.stderr and LINE not in done.stderr
    assert (f"watch: {SCRIPT} attach deep --namespace=ours" in done.stderr) == (status == 0)
    assert not (gke.cloud / "kubectl").exists()


def test_names_that_look_like_yaml_values_stay_strings(gke):
    done = gke.gke(
        "manifest", "true", "--type=v4-8", "--image=5", "--service-account=1", "--", "--config=a", "--workdir=gs://b/r"
    )
    jobset = yaml.safe_load(done.stdout)
    _, pod = pod_of(jobset)
    assert (jobset["metadata"]["name"], pod["serviceAccountName"], pod["containers"][0]["image"]) == ("true", "1", "5")


def test_xpk_gets_every_argument_unchanged(gke):
    options = ["--xpk=cluster", "--zone=z", "--type=v4-8", "--image=i", "--yes"]
    done = gke.gke("create", "deep", *options, *TRAINING)
    assert done.returncode == 0, done.stderr
    (command,) = (w for w in (gke.cloud / "xpk").read_text().splitlines() if w.startswith("--command="))
    assert words_of(command.removeprefix("--command=")) == ["-m", "biggan_jax.main", *OURS, *TRAINING[1:]]


def words_of(command):
    """Return the arguments of `python` as bash splits the line."""
    script = "python() { printf '%s\\0' \"$@\"; }; " + command
    ran = subprocess.run(["bash", "-c", script], capture_output=True)
    return ran.stdout.decode().split("\0")[:-1]


def test_arguments_survive_yaml_and_kubernetes_variables(gke):
    _, pod = pod_of(manifest(gke))
    # As Kubernetes expands: $$ is $, and $(NAME) a variable of the container.
    given = [
        re.sub(r"\$\$|\$\(\w+\)", lambda m: "$" if m[0] == "$$" else "EXPANDED", word)
        for word in pod["containers"][0]["args"]
    ]
    assert given == [*OURS, *TRAINING[1:]]


def test_a_dry_run_can_be_run(gke):
    done = gke.gke("create", "deep", "--type=v5litepod-16", "--image=i", "--dry-run", *TRAINING)
    assert done.returncode == 0 and not (gke.cloud / "kubectl").exists()
    ran = gke.execute(["bash", "-c", done.stdout])
    assert ran.returncode == 0, ran.stderr
    _, pod = pod_of(yaml.safe_load((gke.cloud / "kubectl.stdin").read_text()))
    assert pod["containers"][0]["image"] == "i" and len(pod["containers"][0]["args"]) == 5


def test_only_recoverable_failures_are_restarted(gke):
    jobset = manifest(gke, "v5litepod-16", "--max-restarts=7")
    job, pod = pod_of(jobset)
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 7
    assert [rule["action"] for rule in jobset["spec"]["failurePolicy"]["rules"]] == ["FailJobSet"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"] == {
        "containerName": "train",
        "operator": "In",
        "values": [1, 2, 3],
    }
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert job["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"


def test_spot_nodes_are_selected_only_with_spot(gke):
    assert pod_of(manifest(gke))[1]["nodeSelector"].keys() == {
        "cloud.google.com/gke-tpu-accelerator",
        "cloud.google.com/gke-tpu-topology",
    }
    assert pod_of(manifest(gke, "v4-8", "--spot"))[1]["nodeSelector"]["cloud.google.com/gke-spot"] == "true"


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["create", "deep", "--image=i", *TRAINING], "--type is needed"),
        (["create", "deep", "--type=v4-8", *TRAINING], "--image is needed"),
        (["create", "deep", "--type=v4-8", "--image=i"], "the options of training go after --"),
        (["create", "Deep", "--type=v4-8", "--image=i", *TRAINING], "not 'Deep'"),
        (["create", "deep", "--type=v4-8", "--image=i", "--xpk=c", *TRAINING], "--xpk and --zone are given together"),
        (
            ["create", "deep", "--type=v3-8", "--image=i", *TRAINING],
            "GKE's name for the nodes of v3-8 is unknown",
        ),
        (
            ["create", "deep", "--type=v4-8", "--image=i", "--max-restarts=x", *TRAINING],
            "--max-restarts=x is not a number",
        ),
        (
            ["create", "deep", "--type=v4-8", "--image=i", "--", f"--config={__file__}", "--workdir=gs://b/r"],
            "containers do not see",
        ),
        (
            ["create", "deep", "--type=v4-8", "--image=i", "--", f"--config={__file__}:256", "--workdir=gs://b/r"],
            "test_gke_jobset.py is a local file, which containers do not see",
        ),
        (
            ["create", "deep", "--type=v4-8", "--image=i", *TRAINING, "--config_json=c.json"],
            "one of --config and --config_json is given, once",
        ),
        (["create", "deep", "--type=v4-7", "--image=i", *TRAINING], "v4-7 is not the name of a TPU slice"),
        (
            ["create", "deep", "--type=v4-8", "--image=i", "--service-account=x: [", *TRAINING],
            "--service-account=x: [ is not a valid Kubernetes name",
        ),
        *(
            (
                ["create", "deep", "--type=v4-8", "--image=i", "--xpk=c", "--zone=z", option, *TRAINING],
                "do not work with --xpk",
            )
            for option in ("--service-account=writer", "--namespace=ours", "--context=mine")
        ),
        (["create", "deep", "--type=v4-8", "--image=i", "--project=p", *TRAINING], "--project only with them"),
        (["manifets", "deep"], "manifets is not create"),
    ],
)
def test_a_user_error_is_one_sentence(gke, words, sentence):
    done = gke.gke(*words)
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1
    assert not (gke.cloud / "kubectl").exists()


@pytest.mark.parametrize("status", [0, 1, 137])
def test_nothing_is_created_when_the_planner_fails(gke, status):
    python = gke.folder / "bin" / "python"
    python.write_text(
        python.read_text().replace(f'echo "{LINE}"; exit "$(cat "$CLOUD/plan_status")"', f"exit {status}")
    )
    done = gke.gke("create", "deep", "--type=v4-8", "--image=i", "--anyway", "--yes", *TRAINING)
    assert done.returncode == 2 and f"the planner failed with status {status}" in done.stderr
    assert not (gke.cloud / "kubectl").exists()


def test_a_python_without_the_planner_is_named(gke):
    python = gke.folder / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    done = gke.gke("create", "deep", "--type=v4-8", "--image=i", *TRAINING)
    assert (
        done.returncode == 2
        and f"{python} cannot run the planner; set PYTHON" in done.stderr
        and done.stderr.count("\n") == 1
    )


def test_status_attach_and_delete_call_kubectl(gke):
    for verb, words in [
        ("status", "get jobset/deep pods"),
        ("attach", "logs --follow"),
        ("delete", "delete jobset deep --ignore-not-found"),
    ]:
        done = gke.gke(verb, "deep", "--namespace=ours", "--dry-run")
        assert done.returncode == 0 and done.stdout.startswith(f"kubectl --namespace=ours {words}")


# --- By Kubernetes' schemas, and beside xpk ------------------------------------------------------------------------------------

VALIDATE = """
import json, sys, jsonschema, kubernetes_validate, yaml
jobset = yaml.safe_load(sys.stdin)
jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).validate(jobset)
for job in jobset["spec"]["replicatedJobs"]:
    inner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, **job["template"]}
    kubernetes_validate.validate(inner, "1.37", strict=True)
"""
needs_xpk = pytest.mark.skipif(not (XPK / "bin" / "xpk").exists(), reason="xpk is not installed: make test-gke")
# A slice of each version, of one host and of several.
TYPES = ["v4-128", "v5litepod-16", "v5litepod-256", "v5p-8", "v6e-1", "v6e-8", "tpu7x-128"]


def valid(text):
    schema = pathlib.Path(__file__).with_name("jobset.schema.json")
    done = subprocess.run([XPK / "bin" / "python", "-c", VALIDATE, schema], input=text, capture_output=True, text=True)
    return done.returncode == 0, done.stderr


@pytest.mark.gke
@needs_xpk
@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("options", [[], ["--spot", "--service-account=writer"]], ids=["plain", "spot"])
def test_the_jobset_is_valid(gke, type_, options):
    fine, why = valid(yaml.safe_dump(manifest(gke, type_, *options)))
    assert fine, why


@pytest.mark.gke
@needs_xpk
@pytest.mark.parametrize(
    "right, wrong",
    [
        ("restartPolicy", "restartPolcy"),
        ("'true'", "true"),
        ("maxRestarts", "maxRestart"),
        ("FailJobSet", "FailJobset"),
        ("backoffLimit: 0", "backoffLimit: none"),
        ("replicas: 1", "replicas: one"),
        ("PodFailurePolicy", "PodFailure"),
    ],
)
def test_a_mistyped_field_is_invalid(gke, right, wrong):
    text = yaml.safe_dump(manifest(gke, "v5litepod-16", "--spot"))
    assert text.count(right) >= 1 and not valid(text.replace(right, wrong))[0]


@pytest.mark.gke
@needs_xpk
@pytest.mark.parametrize("type_", ["v4-128", "v5litepod-16", "v6e-1", "tpu7x-128"])
def test_the_jobset_equals_xpks(gke, type_):
    options = ["--xpk=cluster", "--zone=us-west4-a", "--project=p", f"--type={type_}", "--image=europe/p/biggan:1"]
    done = gke.gke("create", "deep", *options, "--yes", *TRAINING)
    assert done.returncode == 0, done.stderr
    words = (gke.cloud / "xpk").read_text().splitlines()
    done = subprocess.run(
        [XPK / "bin" / "xpk", *words, "--dry-run"],
        capture_output=True,
        text=True,
        cwd=gke.folder,
        timeout=300,
        env=os.environ | {"PATH": f"{XPK / 'bin'}:{os.environ['PATH']}", "HOME": str(gke.folder)},
    )
    assert done.returncode == 0, done.stdout
    text = re.search(r"^apiVersion: jobset.*?(?=^\[XPK\])", done.stdout, re.MULTILINE | re.DOTALL)[0]
    theirs, ours = yaml.safe_load(text), manifest(gke, type_)
    (their_job, their_pod), (our_job, our_pod) = pod_of(theirs), pod_of(ours)
    for key in ("apiVersion", "kind"):
        assert theirs[key] == ours[key]
    assert theirs["metadata"]["annotations"] == ours["metadata"]["annotations"]
    assert theirs["spec"]["failurePolicy"]["maxRestarts"] == ours["spec"]["failurePolicy"]["maxRestarts"]
    for key in ("action", "onJobFailureReasons"):
        assert theirs["spec"]["failurePolicy"]["rules"][0][key] == ours["spec"]["failurePolicy"]["rules"][0][key]
    for key in ("parallelism", "completions", "backoffLimit"):
        assert their_job[key] == our_job[key]
    for key in ("restartPolicy", "terminationGracePeriodSeconds", "hostNetwork", "dnsPolicy"):
        assert their_pod[key] == our_pod[key], key
    # Clusters made by xpk also have placement policies.
    assert our_pod["nodeSelector"].items() <= their_pod["nodeSelector"].items()
    assert their_pod["tolerations"][0] in our_pod["tolerations"]
    (their_container, *_), (our_container,) = their_pod["containers"], our_pod["containers"]
    for key in ("resources", "image", "securityContext"):
        assert their_container[key] == our_container[key], key
    # xpk lists the exit statuses that restart the job, we list those that do not.
    again = their_job["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert again["operator"] == "NotIn" and {75, 137, 143} <= set(again["values"])  # codespell:ignore
    assert not {1, 2, 3} & set(again["values"])
    # Neither xpk nor its shell changes an argument.
    (command,) = re.findall(r"^\s*\((python .*)\) &", their_container["command"][2], re.MULTILINE)
    assert words_of(command) == ["-m", "biggan_jax.main", *OURS, *TRAINING[1:]]
