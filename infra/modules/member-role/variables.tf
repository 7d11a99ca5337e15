variable "name" {
  description = "Begins the name of the stack or stack set."
  type        = string
  default     = "trailkeeper"

  validation {
    # A role has 64 at most, and -direct-alert is added.
    condition     = can(regex("^[a-z][a-z0-9-]{0,49}$", var.name))
    error_message = "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 50 characters."
  }
}

variable "member_role" {
  description = "The role's name, the same in every account, and the external id that the worker must give to take it. Not secret. Give the same object to the module worker."
  type        = object({ name = string, external_id = string })

  validation {
    condition     = can(regex("^[\\w+=,.@-]{1,64}$", var.member_role.name))
    error_message = "The name is that of a role, not its ARN: 1 to 64 letters, digits or _ + = , . @ -."
  }

  validation {
    # In two parts: a regular expression here counts to 1,000 at most.
    condition     = can(regex("^[\\w+=,.@:/-]{2,1000}[\\w+=,.@:/-]{0,224}$", var.member_role.external_id))
    error_message = "An external id has 2 to 1,224 letters, digits or _ + = , . @ : / -."
  }
}

variable "task_role_arn" {
  description = "The worker's role, which may take this one: worker's output of this name."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[\\w+=,.@/-]+$", var.task_role_arn))
    error_message = "The ARN of a role."
  }
}

variable "operators_role_arn" {
  description = "A role of people in the worker's account, with worker's policy operators, who run trailkeeper check: it may take this one too."
  type        = string
  default     = null

  validation {
    condition     = var.operators_role_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[\\w+=,.@/-]+$", var.operators_role_arn))
    error_message = "The ARN of a role."
  }

  validation {
    condition     = var.operators_role_arn == null || try(split(":", var.operators_role_arn)[4] == split(":", var.task_role_arn)[4], true)
    error_message = "Only roles of the worker's account may take this one."
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

variable "organization_trail_arns" {
  description = "The organization's trails, each by its whole ARN in the management account: for the role in an account that is a delegated administrator of CloudTrail."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.organization_trail_arns : can(regex("^arn:[a-z-]+:cloudtrail:[a-z0-9-]+:[0-9]{12}:trail/[A-Za-z0-9._-]{3,128}$", arn))])
    error_message = "Each is the whole ARN of one trail, like arn:aws:cloudtrail:eu-west-1:111122223333:trail/organization."
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
