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
  description = "Calls to CloudTrail itself that the worker hears of, in place of those in event-patterns.json; null leaves them as they are. The rules for other sources (Organizations, IAM, account management, S3, KMS) stay as they are."
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

variable "log_buckets" {
  description = "Names of the buckets that trails deliver to: the worker then hears of calls that delete such a bucket, or change who may write there and what is kept. None: no such rule, since an account has many other buckets. A denied call that does not say which bucket it was for is left out: it could be any."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.log_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", name))])
    error_message = "The name of a bucket, not its ARN."
  }
}

variable "log_keys" {
  description = "KMS keys that trails encrypt with, each by its id or ARN: the worker then hears of calls that disable or delete such a key, or change who may use it. None, and denied calls: as for log_buckets."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for key in var.log_keys : can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/)?(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", key))])
    error_message = "The id or the ARN of a key. An alias will not do: these calls do not take one."
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
