# trailkeeper in one account and Region. See infra/README.md.

provider "aws" {
  region = var.region
}

module "pipeline" {
  source = "../../modules/pipeline"

  name = var.name
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

  name              = var.name
  queue             = module.pipeline.queue
  dead_letter_queue = module.pipeline.dead_letter_queue
  undelivered_queue = module.pipeline.undelivered_queue
  rules             = module.pipeline.rules
  cluster_name      = module.worker.cluster_name
  service_name      = module.worker.service_name
  min_tasks         = module.worker.min_tasks
  alarm_topic_arn   = var.alarm_topic_arn
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
