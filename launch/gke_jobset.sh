#!/usr/bin/env bash
# Trains on a TPU slice of a GKE cluster, as a JobSet of one Job with one pod per host. TPU7x is available only through GKE.
#
#   launch/gke_jobset.sh create NAME --type=v5litepod-256 --image=IMAGE --spot -- --config=biggan_deep_imagenet128 --workdir=gs://BUCKET/deep128
#
# prints the cost, asks for confirmation, and passes the JobSet to kubectl. Kubernetes then restarts it after preemptions, lost nodes and
# exit 75, at most --max-restarts times. Exits 0, 2 (user error), 3 (collapse) and 1 (crash) end it.
#
#   create NAME     creates the JobSet                manifest NAME   prints the JobSet, without confirmation
#   status NAME     shows the JobSet and its pods     attach NAME     follows the log of host 0
#   delete NAME     lets training save, then deletes the JobSet
#
# Options, before the --:
#   --type=TYPE             the slice, such as v4-128, v5litepod-256, v5p-128, v6e-256, tpu7x-128: a node pool of the cluster
#   --image=IMAGE           a container image built from launch/Dockerfile with --build-arg=EXTRA=tpu,gcs
#   --spot                  use nodes of Spot capacity          --max-restarts=N   default 100
#   --service-account=NAME  a Kubernetes service account that may write to the bucket
#   --namespace=NAME --context=NAME   passed to kubectl
#   --xpk=CLUSTER --zone=ZONE --project=PROJECT   use `xpk workload create` instead, for a cluster made by xpk
#   --anyway                create it although the model does not fit
#   --yes                   skip the confirmation               --dry-run          print the commands instead of running them
# After the --: options of biggan_jax.main, as --name=value.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=launch/tpu.sh
. "$(dirname "$0")/tpu.sh"

name='' type='' image='' spot='' service_account='' max_restarts=100 xpk='' zone='' project='' anyway=''
kubectl=(kubectl)
# Seconds from SIGTERM to SIGKILL, for the last step and its checkpoint. (Spot nodes get only 25 from the cloud.)
grace=300

main() {
  command=${1:-}
  case $command in
    create | manifest | status | attach | delete) shift ;;
    -h | --help) usage && exit ;;
    '') usage >&2 && exit 2 ;;
    *) die "$command is not create, manifest, status, attach or delete" ;;
  esac
  read_options "$@"
  case $command in
    create)
      [[ $dry_run || $xpk ]] || look_first # xpk checks by itself.
      agree_to "$type"
      create
      say_how_to_watch
      ;;
    manifest) manifest ;;
    status) run "${kubectl[@]}" get "jobset/$name" pods --selector="jobset.sigs.k8s.io/jobset-name=$name" --output=wide ;;
    attach)
      run "${kubectl[@]}" logs --follow --tail=100 --selector="jobset.sigs.k8s.io/jobset-name=$name,batch.kubernetes.io/job-completion-index=0"
      ;;
    delete) run "${kubectl[@]}" delete jobset "$name" --ignore-not-found ;;
  esac
}

# Exits if a JobSet of that name exists: `apply` would not change it, and a JobSet that has ended would not train.
look_first() {
  local found
  found=$("${kubectl[@]}" get jobset "$name" --ignore-not-found \
    --output='jsonpath={.metadata.name}{range .status.conditions[?(@.status=="True")]} {.type}{end}') || die 'kubectl failed; its error is above'
  case $found in
    '') ;;
    *\ Completed* | *\ Failed*) die "$name has ended (${found#* }): delete it first: $(again delete)" ;;
    *)
      say "$name exists already; nothing was created"
      say_how_to_watch
      exit
      ;;
  esac
}

say_how_to_watch() { say "to watch: $(again attach); to delete it: $(again delete)"; }

# Prints this command with another verb, for the same cluster.
again() { quoted "$0" "$1" "$name" "${kubectl[@]:1}"; }

read_options() {
  while (($#)); do
    case $1 in
      --type=?*) type=${1#*=} ;;
      --image=?*) image=${1#*=} ;;
      --spot) spot=1 ;;
      --service-account=?*) service_account=${1#*=} ;;
      --max-restarts=*) max_restarts=$(number "$1") ;;
      --namespace=?* | --context=?*) kubectl+=("$1") ;;
      --xpk=?*) xpk=${1#*=} ;;
      --zone=?*) zone=${1#*=} ;;
      --project=?*) project=${1#*=} ;;
      --anyway) anyway=1 ;;
      --)
        shift
        read_training "$@"
        break
        ;;
      -*) shared_option "$1" || die "$1 is not an option of this command; see --help" ;;
      *)
        [[ -z $name ]] || die "one JobSet has one name, not both $name and $1"
        name=$1
        ;;
    esac
    shift
  done
  # Pod names contain it and have at most 63 characters.
  [[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] || die "a name is needed, of at most 40 lower-case letters, digits and hyphens, not '$name'"
  [[ $command == create || $command == manifest ]] || return 0
  ((${#training[@]})) || read_training
  [[ ! $config_file ]] || die "$config_file is a local file, which containers do not see; name a config that is in the image"
  [[ $image =~ ^[-A-Za-z0-9./_:@]+$ ]] || die "--image is needed, the name of an image in a registry, not '$image': see launch/Dockerfile"
  [[ ! $service_account || $service_account =~ ^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$ ]] || die "--service-account=$service_account is not a valid Kubernetes name"
  [[ -z $xpk$zone$project || ($xpk && $zone) ]] || die '--xpk and --zone are given together, and --project only with them'
  [[ ! $xpk || (! $service_account && ${#kubectl[@]} == 1) ]] || die '--service-account, --namespace and --context do not work with --xpk; omit them, or --xpk'
  look_up "$type"
  [[ $accelerator != - ]] || die "GKE's name for the nodes of $type is unknown; use v4-N, v5litepod-N, v5p-N, v6e-N or tpu7x-N"
}

create() {
  if [[ $xpk ]]; then
    # xpk restarts after exit statuses above 126 by default.
    run xpk workload create --cluster="$xpk" --zone="$zone" ${project:+--project="$project"} --workload="$name" --tpu-type="$type" --num-slices=1 \
      --docker-image="$image" --max-restarts="$max_restarts" --restart-on-exit-codes=75 --termination-grace-period-seconds="$grace" \
      ${spot:+--spot} --command="$(quoted python -m biggan_jax.main "${training[@]}")"
  elif [[ $dry_run ]]; then
    printf "%s <<'JOBSET'\n%s\nJOBSET\n" "$(quoted "${kubectl[@]}" apply --filename=-)" "$(manifest)"
  else
    manifest | "${kubectl[@]}" apply --filename=-
  fi
}

# Prints the words as JSON, which is valid YAML. Kubernetes expands $(NAME) and $$, so dollars are doubled.
as_json() {
  "$python" -c 'import json, sys; print(json.dumps([word.replace("$", "$$") for word in sys.argv[1:]], ensure_ascii=False))' "$@"
}

manifest() {
  local arguments spot_nodes=''
  arguments=$(as_json "${training[@]}") # Inside the here-document a failure would go unnoticed.
  [[ ! $spot ]] || spot_nodes='                cloud.google.com/gke-spot: "true"'
  sed '/^$/d' <<YAML
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: "$name"
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool # All hosts of one slice together.
spec:
  failurePolicy:
    maxRestarts: $max_restarts # When a pod fails, all pods restart together.
    rules:
      - name: hopeless
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: slice
      replicas: 1
      template:
        spec:
          completionMode: Indexed
          parallelism: $hosts
          completions: $hosts
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob # Crash, user error, collapse.
                onExitCodes: {containerName: train, operator: In, values: [1, 2, 3]}
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: $grace
              hostNetwork: true
              dnsPolicy: ClusterFirstWithHostNet
              serviceAccountName: "${service_account:-default}"
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $accelerator
                cloud.google.com/gke-tpu-topology: $shape
$spot_nodes
              tolerations:
                - {key: google.com/tpu, operator: Exists}
                - {key: cloud.google.com/gke-spot, operator: Exists}
              containers:
                - name: train
                  image: "$image"
                  command: [python, -m, biggan_jax.main]
                  args: $arguments
                  securityContext: {privileged: true} # TPUs are devices of the host.
                  resources:
                    limits: {google.com/tpu: $chips_per_host}
                  volumeMounts:
                    - {name: shared-memory, mountPath: /dev/shm} # The default is 64 MB.
              volumes:
                - name: shared-memory
                  emptyDir: {medium: Memory}
YAML
}

main "$@"
