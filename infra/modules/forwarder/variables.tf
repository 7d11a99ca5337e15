variable "name" {
  description = "Names the rules, and begins the name of the stack or stack set."
  type        = string
  default     = "trailkeeper"

  validation {
    # A role has 64 at most, and -direct-alert is added.
    condition     = can(regex("^[a-z][a-z0-9-]{0,49}$", var.name))
    error_message = "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 50 characters."
  }
}

variable "central_bus_arn" {
  description = "Where events go: central-bus's output arn. For other Regions of a single account, the default bus of the Region where the worker runs does as well."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:events:[a-z0-9-]+:[0-9]{12}:event-bus/.+$", var.central_bus_arn))
    error_message = "The ARN of an event bus."
  }
}

variable "event_patterns" {
  description = "Which events, by source, as JSON: pipeline's output of this name."
  type        = map(string)

  validation {
    condition     = alltrue([for pattern in values(var.event_patterns) : can(jsondecode(pattern).detail)])
    error_message = "Event patterns, as JSON."
  }
}

variable "organizational_unit_ids" {
  description = "Units whose accounts forward, present and future ones (the organization's root, r-…, is all of them, but for the management account, which stack sets skip). None: this account and Region alone forward."
  type        = list(string)
  default     = []
}

variable "regions" {
  description = "Regions of those accounts that forward: all in which somebody could stop a trail, and us-east-1, where CloudTrail records the calls of IAM, Organizations and account management. Not used for this account alone."
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
