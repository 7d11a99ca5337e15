variable "name" {
  description = "Begins the names of the role and of the stack or stack set."
  type        = string
  default     = "trailkeeper"

  validation {
    # A role has 64 at most, and -direct-alert is added.
    condition     = can(regex("^[a-z][a-z0-9-]{0,49}$", var.name))
    error_message = "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 50 characters."
  }
}

variable "task_role_arn" {
  description = "Who may take the role: worker's output of this name. It must exist first; if it is ever made anew, roll this out again, since IAM remembers the old one."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", var.task_role_arn))
    error_message = "The ARN of a role."
  }
}

variable "organization_id" {
  description = "The organization that the task role must belong to."
  type        = string

  validation {
    condition     = can(regex("^o-[a-z0-9]{10,32}$", var.organization_id))
    error_message = "An organization's id begins with o-."
  }
}

variable "external_id" {
  description = "What the worker must name to take the role. Not a secret."
  type        = string
  default     = "trailkeeper"

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@:/-]{2,}$", var.external_id))
    error_message = "An external id has two letters, digits or + = , . @ : / - at least."
  }
}

variable "organizational_unit_ids" {
  description = "Units whose accounts get the role, present and future ones (the organization's root, r-…, is all of them, but for the management account, which stack sets skip). None: this account alone gets it."
  type        = list(string)
  default     = []
}

variable "call_as" {
  description = "SELF in the management account, DELEGATED_ADMIN in an account that may administer stack sets for it."
  type        = string
  default     = "DELEGATED_ADMIN"

  validation {
    condition     = contains(["SELF", "DELEGATED_ADMIN"], var.call_as)
    error_message = "SELF or DELEGATED_ADMIN."
  }
}
