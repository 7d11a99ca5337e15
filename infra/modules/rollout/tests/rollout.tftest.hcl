# Plans with the real provider and no account: nothing is asked of AWS. What only an account would tell is given.
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  name        = "trailkeeper-example"
  description = "An example"
  template    = "{\"Resources\": {}}"
}

run "here" {
  command = plan

  assert {
    condition     = length(aws_cloudformation_stack.here) == 1 && length(aws_cloudformation_stack_set.everywhere) == 0
    error_message = "Without units, a stack in this account and Region."
  }
}

run "everywhere" {
  command = plan

  variables {
    organizational_unit_ids = ["r-abcd"]
    regions                 = ["eu-west-1", "us-east-1"]
  }

  assert {
    condition = alltrue([
      length(aws_cloudformation_stack.here) == 0,
      aws_cloudformation_stack_set.everywhere[0].permission_model == "SERVICE_MANAGED",
      aws_cloudformation_stack_set.everywhere[0].auto_deployment[0].enabled,
      aws_cloudformation_stack_set.everywhere[0].call_as == "DELEGATED_ADMIN",
      aws_cloudformation_stack_instances.everywhere[0].deployment_targets[0].organizational_unit_ids == toset(["r-abcd"]),
      aws_cloudformation_stack_instances.everywhere[0].regions == toset(["eu-west-1", "us-east-1"]),
    ])
    error_message = "With units, a stack set that reaches all their accounts, future ones too."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    template                = "{}"
    organizational_unit_ids = ["everyone"]
    regions                 = []
    call_as                 = "ME"
  }

  expect_failures = [var.template, var.organizational_unit_ids, var.call_as]
}

run "refuses_units_without_regions" {
  command = plan

  variables {
    organizational_unit_ids = ["r-abcd"]
  }

  expect_failures = [var.regions]
}
