# trailkeeper for an organization: one worker in a security account, which hears of every account and Region. Apply it in
# an account that is a delegated administrator of CloudFormation StackSets. See infra/README.md.

provider "aws" {
  region = var.region
}

# The management account, which stack sets skip: here, and where its calls to IAM and Organizations are recorded.
provider "aws" {
  alias  = "management"
  region = var.region

  assume_role {
    role_arn = var.management_role_arn
  }
}

provider "aws" {
  alias  = "management_global"
  region = var.global_region

  assume_role {
    role_arn = var.management_role_arn
  }
}

locals {
  # One object for the worker and for the roles, so that each role is the one that the worker takes, and trusts what it gives.
  member_role = { name = "${var.name}-member", external_id = var.name }
}

module "central_bus" {
  source = "../../modules/central-bus"

  name            = var.name
  organization_id = var.organization_id
}

module "pipeline" {
  source = "../../modules/pipeline"

  name            = var.name
  event_bus_names = ["default", module.central_bus.name]
  log_buckets     = var.log_buckets
  log_keys        = var.log_keys
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
  organization_trail_arns  = var.organization_trail_arns
  member_role              = local.member_role
  policy                   = var.policy
  list_accounts            = true
  # Each sweep calls CloudTrail in every account, and those calls are recorded: with many accounts, not each five minutes.
  sweep_interval_seconds = 900
  vpc_id                 = var.vpc_id
  subnet_ids             = var.subnet_ids
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
  member_role            = local.member_role
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

module "forwarders" {
  source = "../../modules/forwarder"

  name                    = var.name
  central_bus_arn         = module.central_bus.arn
  event_patterns          = module.pipeline.event_patterns
  organizational_unit_ids = var.organizational_unit_ids
  regions                 = var.regions
}

# In this Region and the one of the next block; each further one of the management account needs a provider and a block like
# these.
module "management_forwarder" {
  source    = "../../modules/forwarder"
  providers = { aws = aws.management }

  name            = var.name
  central_bus_arn = module.central_bus.arn
  event_patterns  = module.pipeline.event_patterns
}

# Nearly all calls to Organizations are made in the management account, and each is recorded in this one Region.
module "management_global_forwarder" {
  source    = "../../modules/forwarder"
  providers = { aws = aws.management_global }
  count     = var.region == var.global_region ? 0 : 1

  name            = var.name
  central_bus_arn = module.central_bus.arn
  event_patterns  = module.pipeline.event_patterns
}

module "member_roles" {
  source = "../../modules/member-role"

  name                    = var.name
  member_role             = local.member_role
  task_role_arn           = module.worker.task_role_arn
  operators_role_arn      = var.operators_role_arn
  organization_id         = var.organization_id
  organizational_unit_ids = var.organizational_unit_ids
}

module "management_role" {
  source    = "../../modules/member-role"
  providers = { aws = aws.management }

  name                    = var.name
  member_role             = local.member_role
  task_role_arn           = module.worker.task_role_arn
  operators_role_arn      = var.operators_role_arn
  organization_id         = var.organization_id
  organization_trail_arns = var.organization_trail_arns
}
