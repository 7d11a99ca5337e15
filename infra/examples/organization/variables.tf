variable "name" {
  description = "Names everything here."
  type        = string
  default     = "trailkeeper"
}

variable "region" {
  description = "Where the worker and the central bus are."
  type        = string
}

variable "organization_id" {
  description = "The organization, o-…"
  type        = string
}

variable "organizational_unit_ids" {
  description = "Units whose accounts are watched; the root, r-…, is all of them."
  type        = list(string)
}

variable "global_region" {
  description = "Where CloudTrail records the calls of IAM, Organizations and account management. Another one only in another partition than aws."
  type        = string
  default     = "us-east-1"
}

variable "regions" {
  description = "Regions that are watched in each account: all in which somebody could stop a trail, and us-east-1."
  type        = list(string)

  validation {
    condition     = contains(var.regions, var.global_region)
    error_message = "${var.global_region} must be among the Regions: the calls of IAM, Organizations and account management are recorded there and nowhere else."
  }
}

variable "log_buckets" {
  description = "Names of the buckets that trails deliver to, to hear of calls that delete or change them; none: not heard of."
  type        = list(string)
  default     = []
}

variable "log_keys" {
  description = "KMS keys that trails encrypt with, by id or ARN; likewise."
  type        = list(string)
  default     = []
}

variable "organization_trail_arns" {
  description = "The organization's trails, each by its whole ARN in the management account, if this account is a delegated administrator of CloudTrail too: the worker may look at these, and restart them in the mode restore. The management account's role may in any case."
  type        = list(string)
  default     = []
}

variable "management_role_arn" {
  description = "Role with which Terraform works in the management account."
  type        = string
}

variable "operators_role_arn" {
  description = "A role of people in this account, with the policy operators_policy_arn, who run trailkeeper check; null: none."
  type        = string
  default     = null
}

variable "mode" {
  description = "restore (restart logging and notify), notify (notify only), or dry-run (neither; log the decision)."
  type        = string
  default     = "restore"
}

variable "policy" {
  description = "What is done about which trails: the text of the policy, as TOML (docs/policy.md). This one restarts every stopped trail in all of the organization's accounts."
  type        = string
  default     = <<-TOML
    version = 1

    [accounts]
    source = "organization"
  TOML
}

variable "vpc_id" {
  description = "The network of the subnets."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two availability zones or more, with a way out to the internet."
  type        = list(string)
}

variable "image" {
  description = "The worker's image, with a tag or a digest."
  type        = string
}

variable "slack_webhook_secret_arn" {
  description = "Secret in Secrets Manager whose whole value is the URL of Slack's incoming webhook."
  type        = string
}

variable "alarm_topic_arn" {
  description = "SNS topic that the alarms tell; null makes one, to subscribe to."
  type        = string
  default     = null
}

variable "direct_alert" {
  description = "A second alert of each event, from EventBridge straight to Slack: the one that still comes when the worker does not run."
  type = object({
    slack_channel              = string
    slack_bot_token_secret_arn = string
    slack_bot_token_version_id = string
  })
  default = null
}
