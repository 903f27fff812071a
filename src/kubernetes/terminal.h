/* The Terminal resource as both of its sides know it: the orchestrator, which makes it, and the operator, which runs it (orchestrator.md §4.3). */
#ifndef KUBERNETES_TERMINAL_H
#define KUBERNETES_TERMINAL_H

#define TERMINAL_FINALIZER "terminals.openwebui.com/finalizer"
/* On every object that the operator makes: the name of its resource (label: hashed where it is no label value; annotation: as it is). */
#define LABEL_TERMINAL "openwebui.com/terminal"

/* Exact texts, where labels may hold hashes of them. */
#define ANNOTATION_USER_ID "openwebui.com/user-id"
#define ANNOTATION_POLICY_ID "openwebui.com/policy-id"
#define ANNOTATION_CONTEXT_ID "openwebui.com/context-id"
/* On the pod: what it was made from; on the resource: the orchestrator's hash of the policy that it was made from,
 * after the number of the rules that it was made by. */
#define ANNOTATION_SPEC_HASH "openwebui.com/spec-hash"
/* On the pod: a hash of the key that its guest got. The operator's: the first 16 hex digits of SHA-256 of the key as it stands in the Secret
 * (base64); the direct backend's: key_hash12() of the key. */
#define ANNOTATION_KEY_HASH "openwebui.com/key-hash"
/* On the volume claim: since when no resource uses it. */
#define ANNOTATION_RELEASED "openwebui.com/released-at"
/* On the resource: any new value empties the home once, while the pod is stopped; status.lastReset says which was last carried out. */
#define ANNOTATION_RESET "openwebui.com/reset"

#define TERMINAL_CONTAINER "open-terminal"
#define TERMINAL_PORT 8000
#define TERMINAL_HOME "/home/user"
#define TERMINAL_KEY_FIELD "api-key"

/* status.phase. Idle commands: who writes it has the pod stopped; who writes Pending over it has it started again. */
#define PHASE_TEXT_PENDING "Pending"
#define PHASE_TEXT_PROVISIONING "Provisioning"
#define PHASE_TEXT_RUNNING "Running"
#define PHASE_TEXT_IDLE "Idle"
#define PHASE_TEXT_ERROR "Error"

/* Reasons of the condition Ready that are faults. */
#define REASON_TEXT_IMAGE_PULL_FAILED "ImagePullFailed"
#define REASON_TEXT_IMAGE_NOT_ALLOWED "ImageNotAllowed"
#define REASON_TEXT_UNSCHEDULABLE "Unschedulable"
#define REASON_TEXT_CRASH_LOOP "CrashLoop"
#define REASON_TEXT_CONTAINER_NOT_CREATED "ContainerNotCreated"
#define REASON_TEXT_QUOTA_EXCEEDED "QuotaExceeded"
#define REASON_TEXT_ADMISSION_REFUSED "AdmissionRefused"
#define REASON_TEXT_INVALID_SPEC "InvalidSpec"
#define REASON_TEXT_NAME_TAKEN "NameTaken"
#define REASON_TEXT_RESET_FAILED "ResetFailed"

#define OPERATOR_LEASE_NAME "terminals-operator"

#endif
