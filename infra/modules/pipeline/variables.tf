variable "name" {
  description = "Names everything here: queues, rules and table."
  type        = string
  default     = "trailkeeper"

  validation {
    # A role has 64 at most, and -direct-alert is added.
    condition     = can(regex("^[a-z][a-z0-9-]{0,49}$", var.name))
    error_message = "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 50 characters."
  }
}

variable "event_names" {
  description = "CloudTrail calls that the worker hears of, in place of those in event-pattern.json; null leaves them as they are."
  type        = list(string)
  default     = null

  validation {
    condition     = var.event_names == null || contains(coalesce(var.event_names, []), "StopLogging")
    error_message = "StopLogging must be among the event names: without it no trail is ever restarted."
  }

  validation {
    condition     = alltrue([for name in coalesce(var.event_names, []) : can(regex("^[A-Z][A-Za-z0-9]+$", name))])
    error_message = "An event name is that of an API call, like StopLogging."
  }
}

variable "event_bus_names" {
  description = "Buses to take events from: the account's default bus, and the central bus of an organization."
  type        = set(string)
  default     = ["default"]

  validation {
    condition     = contains(var.event_bus_names, "default")
    error_message = "The default bus must be among them: CloudTrail's events of this account and Region arrive there and nowhere else."
  }
}

variable "point_in_time_recovery" {
  description = "Continuous backups of the state table. They cost $0.20 per GB and month, and the table remembers two weeks of events at most: losing it means that duplicates are handled twice."
  type        = bool
  default     = false
}
