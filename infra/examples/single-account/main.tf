# trailkeeper in one account and Region. See infra/README.md.

provider "aws" {
  region = var.region
}

provider "aws" {
  alias  = "global"
  region = var.global_region
}

module "pipeline" {
  source = "../../modules/pipeline"

  name        = var.name
  log_buckets = var.log_buckets
  log_keys    = var.log_keys
}

# IAM's and account management's calls, and Organizations' in a management account, are recorded in this one Region. Where
# the worker runs elsewhere, they reach it from there.
module "global_forwarder" {
  source    = "../../modules/forwarder"
  providers = { aws = aws.global }
  count     = var.region == var.global_region ? 0 : 1

  name            = var.name
  central_bus_arn = data.aws_cloudwatch_event_bus.default.arn
  event_patterns  = module.pipeline.event_patterns
}

data "aws_cloudwatch_event_bus" "default" {
  name = "default"
}

module "worker" {
  source = "../../modules/worker"

  name                     = var.name
  mode                     = var.mode
  queue                    = module.pipeline.queue
  dead_letter_queue        = module.pipeline.dead_letter_queue
  state_table              = module.pipeline.state_table
  slack_webhook_secret_arn = var.slack_webhook_secret_arn
  image                    = var.image
  create_repository        = var.create_repository
  vpc_id                   = var.vpc_id
  subnet_ids               = var.subnet_ids
}

module "observability" {
  source = "../../modules/observability"

  name                   = var.name
  queue                  = module.pipeline.queue
  dead_letter_queue      = module.pipeline.dead_letter_queue
  undelivered_queue      = module.pipeline.undelivered_queue
  rules                  = module.pipeline.rules
  cluster_name           = module.worker.cluster_name
  service_name           = module.worker.service_name
  min_tasks              = module.worker.min_tasks
  sweep_interval_seconds = module.worker.sweep_interval_seconds
  alarm_topic_arn        = var.alarm_topic_arn
}

# Off unless var.direct_alert is given.
module "direct_alert" {
  source = "../../modules/direct-alert"
  count  = var.direct_alert == null ? 0 : 1

  name                       = var.name
  rules                      = module.pipeline.rules
  undelivered_queue          = module.pipeline.undelivered_queue
  slack_channel              = var.direct_alert.slack_channel
  slack_bot_token_secret_arn = var.direct_alert.slack_bot_token_secret_arn
  slack_bot_token_version_id = var.direct_alert.slack_bot_token_version_id
}
