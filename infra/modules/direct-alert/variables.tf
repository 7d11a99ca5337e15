variable "name" {
  description = "Names everything here, or begins its names."
  type        = string
  default     = "trailkeeper"

  validation {
    # A role has 64 at most, and -direct-alert is added.
    condition     = can(regex("^[a-z][a-z0-9-]{0,49}$", var.name))
    error_message = "A name has lower-case letters, digits and hyphens, begins with a letter, and has at most 50 characters."
  }
}

variable "rules" {
  description = "Every rule's bus and name: pipeline's output of this name."
  type        = map(object({ bus = string, name = string }))
}

variable "undelivered_queue" {
  description = "Where alerts go that could not be delivered: pipeline's output of this name. A wrong channel or a revoked token is not among them, since Slack answers 200 to those: try the channel once."
  type        = object({ arn = string })
}

variable "slack_channel" {
  description = "Id of the channel, like C0123456789. The bot must be a member of it."
  type        = string

  validation {
    condition     = can(regex("^[CG][A-Z0-9]{8,}$", var.slack_channel))
    error_message = "A channel's id begins with C or G; Slack shows it at the end of the channel's details."
  }
}

variable "slack_bot_token_secret_arn" {
  description = "Secret in Secrets Manager whose whole value is a bot's token (xoxb-…) with the scope chat:write. Only its ARN is known here."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+$", var.slack_bot_token_secret_arn))
    error_message = "This is the ARN of a secret, not the token itself."
  }
}

variable "slack_bot_token_version_id" {
  description = "Version of the secret to read. Another one makes the connection take the token anew: give it after each rotation."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-zA-Z-]{32,64}$", var.slack_bot_token_version_id))
    error_message = "A version's id, as aws secretsmanager list-secret-version-ids shows it."
  }
}
