variable "name" {
  description = "Names the stack or the stack set."
  type        = string
}

variable "description" {
  description = "What the template is for."
  type        = string
}

variable "template" {
  description = "The CloudFormation template, as JSON. It may hold IAM roles with names of their own."
  type        = string

  validation {
    condition     = can(jsondecode(var.template).Resources)
    error_message = "A template has resources."
  }
}

variable "organizational_unit_ids" {
  description = "Units whose accounts get the template, present and future ones (the organization's root, r-…, is all of them, but for the management account, which stack sets skip). None: this account and Region alone get it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.organizational_unit_ids : can(regex("^(r-[a-z0-9]{4,32}|ou-[a-z0-9]{4,32}-[a-z0-9]{8,32})$", id))])
    error_message = "A unit's id begins with ou-, the root's with r-."
  }
}

variable "regions" {
  description = "Regions that get the template in each of those accounts; not used for this account alone."
  type        = list(string)
  default     = []

  validation {
    condition     = (length(var.organizational_unit_ids) == 0) == (length(var.regions) == 0)
    error_message = "Regions belong to organizational units: give both or neither."
  }
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
