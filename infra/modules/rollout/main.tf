# A CloudFormation template: in this account and Region, or in all accounts of organizational units. Terraform by itself
# needs a provider for each account and Region, which nobody writes down for hundreds; a stack set also reaches the
# accounts that come later. Both cost nothing.

locals {
  everywhere   = length(var.organizational_unit_ids) > 0
  capabilities = ["CAPABILITY_NAMED_IAM"]
}

resource "aws_cloudformation_stack" "here" {
  #checkov:skip=CKV_AWS_124:Terraform waits for the stack and reports how it went.

  count = local.everywhere ? 0 : 1

  name          = var.name
  template_body = var.template
  capabilities  = local.capabilities
}

resource "aws_cloudformation_stack_set" "everywhere" {
  count = local.everywhere ? 1 : 0

  name             = var.name
  description      = var.description
  template_body    = var.template
  capabilities     = local.capabilities
  permission_model = "SERVICE_MANAGED"
  call_as          = var.call_as

  auto_deployment {
    enabled = true
    # An account that leaves the organization takes nothing of ours with it.
    retain_stacks_on_account_removal = false
  }

  lifecycle {
    # AWS sets it with SERVICE_MANAGED, and then every plan would want it gone.
    ignore_changes = [administration_role_arn]
  }
}

resource "aws_cloudformation_stack_instances" "everywhere" {
  count = local.everywhere ? 1 : 0

  stack_set_name = aws_cloudformation_stack_set.everywhere[0].name
  regions        = var.regions
  call_as        = var.call_as

  deployment_targets {
    organizational_unit_ids = var.organizational_unit_ids
  }

  operation_preferences {
    # One account after the other, the default, takes a day for hundreds.
    region_concurrency_type   = "PARALLEL"
    concurrency_mode          = "SOFT_FAILURE_TOLERANCE"
    max_concurrent_percentage = 25
    # A few accounts in a strange state must not keep all others waiting.
    failure_tolerance_percentage = 10
  }

  # Hundreds of accounts take longer than the provider's half an hour.
  timeouts {
    create = "3h"
    update = "3h"
    delete = "3h"
  }
}
