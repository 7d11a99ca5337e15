variable "name" {
  description = "Names everything here."
  type        = string
  default     = "trailkeeper"
}

variable "region" {
  description = "Where the worker runs: the home Region of the trails. CloudTrail's events are seen only in the Region of the call."
  type        = string
}

variable "global_region" {
  description = "Where CloudTrail records the calls of IAM, Organizations and account management. Another one only in another partition than aws."
  type        = string
  default     = "us-east-1"
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

variable "create_repository" {
  description = "Make an ECR repository for the image. It costs $0.10 per GB and month."
  type        = bool
  default     = false
}

variable "mode" {
  description = "restore (restart logging and notify), notify (notify only), or dry-run (neither; log the decision)."
  type        = string
  default     = "restore"
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
