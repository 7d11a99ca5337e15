variable "name" {
  description = "Names everything here: cluster, service, roles, log group, security group and repository."
  type        = string
  default     = "trailkeeper"

  validation {
    # A role has 64 at most, and -direct-alert is added.
    condition     = can(regex("^[a-z][a-z0-9-]{0,49}$", var.name))
    error_message = "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 50 characters."
  }
}

variable "queue" {
  description = "The queue to consume: pipeline's output of this name."
  type        = object({ name = string, arn = string, url = string })
}

variable "dead_letter_queue" {
  description = "Where poison goes: pipeline's output of this name."
  type        = object({ arn = string })
}

variable "state_table" {
  description = "The table of claims: pipeline's output of this name."
  type        = object({ name = string, arn = string })
}

variable "slack_webhook_secret_arn" {
  description = "Secret in Secrets Manager whose whole value is the URL of Slack's incoming webhook. Only its ARN is known here. If a key of your own encrypts it, let that key's policy give kms:Decrypt to execution_role_arn."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+$", var.slack_webhook_secret_arn))
    error_message = "This is the ARN of a secret, not the webhook itself."
  }
}

variable "image" {
  description = "The worker's image, with a tag or a digest. The role that pulls it may read the one ECR repository that this names; other registries need no right."
  type        = string

  validation {
    condition     = can(regex("(:[^:/@]+|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "Name a release or a digest: what an image without either, or latest, stands for changes under running tasks, and cannot be rolled back."
  }
}

variable "create_repository" {
  description = "Make an ECR repository of this name for the image. It costs $0.10 per GB and month; it keeps ten images."
  type        = bool
  default     = false
}

variable "architecture" {
  description = "What the image was built for. ARM64 costs a fifth less."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "ARM64 or X86_64."
  }
}

variable "vpc_id" {
  description = "The network of the subnets."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "The id of a VPC begins with vpc-."
  }
}

variable "subnet_ids" {
  description = "Private subnets in two availability zones or more. Slack is on the internet, so they need a way out, such as a NAT gateway. The tasks get no public address."
  type        = list(string)

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2
    error_message = "With one subnet, the loss of an availability zone is the loss of the worker: name two at least."
  }

  validation {
    condition     = alltrue([for id in var.subnet_ids : startswith(id, "subnet-")])
    error_message = "The id of a subnet begins with subnet-."
  }
}

variable "mode" {
  description = "restore (restart logging and notify), notify (notify only), or dry-run (neither; log the decision)."
  type        = string
  default     = "restore"

  validation {
    condition     = contains(["restore", "notify", "dry-run"], var.mode)
    error_message = "restore, notify or dry-run."
  }
}

variable "policy" {
  description = "What is done about which trails: the text of the policy, as TOML (docs/policy.md). It stands in Terraform's state and in the account for people who may read there: it is no secret. Up to 4,096 bytes it is free, up to 8,192 it costs $0.05 a month, up to 65,536 $0.40. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.policy == null || try(trimspace(var.policy) != "", true)
    error_message = "An empty policy is none: null."
  }

  validation {
    # policy_bytes of policy.tf, which a validation cannot refer to.
    condition     = var.policy == null || try(length(base64encode(var.policy)) / 4 * 3 - length(regexall("=", base64encode(var.policy))) <= 65536, true)
    error_message = "A policy has 65,536 bytes at most: ECS has no place for a longer one."
  }
}

variable "sweep_interval_seconds" {
  description = "Between two sweeps: looks at every trail of every account of the policy, so that a stop whose event never came is found. Above 50 accounts 900 is enough: the calls of each sweep are recorded, and cost where a second trail records them. 0: no sweep, and no rights for it. In dry-run there is none either."
  type        = number
  default     = 300

  validation {
    condition     = floor(var.sweep_interval_seconds) == var.sweep_interval_seconds && (var.sweep_interval_seconds == 0 || (var.sweep_interval_seconds >= 10 && var.sweep_interval_seconds <= 86400))
    error_message = "0 for no sweep, or 10 to 86,400 seconds."
  }
}

variable "environment" {
  description = "Further variables of the worker, such as TRAILKEEPER_MAX_ATTEMPTS. They stand in the state and in the console for all to read: no secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : startswith(name, "TRAILKEEPER_")])
    error_message = "The worker's variables begin with TRAILKEEPER_."
  }

  validation {
    condition = length(setintersection(keys(var.environment), [
      "TRAILKEEPER_EXTERNAL_ID", "TRAILKEEPER_MEMBER_ROLE", "TRAILKEEPER_METRICS", "TRAILKEEPER_MODE", "TRAILKEEPER_NAME",
      "TRAILKEEPER_POLICY_TOML", "TRAILKEEPER_QUEUE_URL", "TRAILKEEPER_SLACK_BOT_TOKEN", "TRAILKEEPER_SLACK_WEBHOOK_URL", "TRAILKEEPER_STATE_TABLE",
      "TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "TRAILKEEPER_TASK_PROTECTION",
    ])) == 0
    error_message = "Name, queue, table, mode, policy, member role, sweep interval, metrics and protection are set by this module; a secret never goes here."
  }
}

variable "min_tasks" {
  description = "Tasks that always run. Two outlive the loss of one; each costs about $7 a month on demand and $2 on Spot."
  type        = number
  default     = 2

  validation {
    condition     = var.min_tasks >= 1 && floor(var.min_tasks) == var.min_tasks
    error_message = "One at least."
  }
}

variable "max_tasks" {
  description = "Tasks at most: what a storm may cost. Six are what a backlog of 10,000 asks for."
  type        = number
  default     = 6

  validation {
    condition     = var.max_tasks >= var.min_tasks && floor(var.max_tasks) == var.max_tasks
    error_message = "Not fewer than min_tasks."
  }
}

variable "acceptable_delay_seconds" {
  description = "How long a backlog may take to work off before tasks are added."
  type        = number
  default     = 60

  validation {
    condition     = var.acceptable_delay_seconds > 0
    error_message = "More than nothing."
  }
}

variable "processing_seconds" {
  description = "How long the work on one message takes: the metric trailkeeper_processing_seconds on a slow day."
  type        = number
  default     = 1

  validation {
    condition     = var.processing_seconds > 0
    error_message = "More than nothing."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept, at $0.03 per GB and month after $0.50 per GB taken in. The worker writes a line for each decision and two each ten seconds of metrics: some 0.2 GB a month for two tasks."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch Logs keeps for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "organization_trail_arns" {
  description = "The organization's trails, each by its whole ARN in the management account. Give them where the worker runs in an account that is a delegated administrator of CloudTrail: from there it may look at these trails and restart them."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.organization_trail_arns : can(regex("^arn:[a-z-]+:cloudtrail:[a-z0-9-]+:[0-9]{12}:trail/[A-Za-z0-9._-]{3,128}$", arn))])
    error_message = "Each is the whole ARN of one trail, like arn:aws:cloudtrail:eu-west-1:111122223333:trail/organization."
  }
}

variable "member_role" {
  description = "The role with which the worker acts in the organization's other accounts, and the external id that it gives. Not secret. Give the same object to the module member-role. Null: it acts in its own account alone. Not used in dry-run."
  type        = object({ name = string, external_id = string })
  default     = null

  validation {
    condition     = var.member_role == null || can(regex("^[\\w+=,.@-]{1,64}$", var.member_role.name))
    error_message = "The name is that of a role, not its ARN: 1 to 64 letters, digits or _ + = , . @ -."
  }

  validation {
    # In two parts: a regular expression here counts to 1,000 at most.
    condition     = var.member_role == null || can(regex("^[\\w+=,.@:/-]{2,1000}[\\w+=,.@:/-]{0,224}$", var.member_role.external_id))
    error_message = "An external id has 2 to 1,224 letters, digits or _ + = , . @ : / -."
  }
}

variable "list_accounts" {
  description = "Whether the worker may list the organization's accounts: needed with source = \"organization\" in the policy. It works in the management account, and in one that is a delegated administrator of any service."
  type        = bool
  default     = false
}
