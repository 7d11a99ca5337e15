variable "name" {
  description = "Names the alarms, the topic and the dashboard, or begins their names. The same as worker's: its own metrics have it as the dimension deployment."
  type        = string
  default     = "trailkeeper"

  validation {
    # A role has 64 at most, and -direct-alert is added.
    condition     = can(regex("^[a-z][a-z0-9-]{0,49}$", var.name))
    error_message = "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 50 characters."
  }
}

variable "queue" {
  description = "The queue that the worker consumes: pipeline's output of this name."
  type        = object({ name = string })
}

variable "dead_letter_queue" {
  description = "Events that the worker gave up on: pipeline's output of this name."
  type        = object({ name = string })
}

variable "undelivered_queue" {
  description = "Events that EventBridge could not deliver: pipeline's output of this name."
  type        = object({ name = string })
}

variable "rules" {
  description = "Every rule's bus and name: pipeline's output of this name."
  type        = map(object({ bus = string, name = string }))
}

variable "cluster_name" {
  description = "The ECS cluster: worker's output of this name."
  type        = string
}

variable "service_name" {
  description = "The ECS service: worker's output of this name."
  type        = string
}

variable "min_tasks" {
  description = "Fewer running tasks are an alarm: worker's output of this name."
  type        = number
}

variable "sweep_interval_seconds" {
  description = "Between two sweeps: worker's output of this name. Two intervals without one are an alarm. 0: the worker makes none."
  type        = number

  validation {
    condition     = var.sweep_interval_seconds >= 0 && var.sweep_interval_seconds <= 86400
    error_message = "From 0 to 86,400 seconds: no alarm looks back further."
  }
}

variable "member_role" {
  description = "The role with which the worker acts in other accounts: worker's input of this name. One that it cannot take is an alarm. Null: it takes none."
  type        = object({ name = string })
  default     = null
}

variable "alarm_topic_arn" {
  description = "SNS topic that the alarms tell; null makes one, which nobody has subscribed to yet. Its policy must let cloudwatch.amazonaws.com publish."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.alarm_topic_arn))
    error_message = "The ARN of an SNS topic."
  }
}
