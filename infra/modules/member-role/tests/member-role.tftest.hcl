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
  member_role     = { name = "trailkeeper-member", external_id = "trailkeeper" }
  task_role_arn   = "arn:aws:iam::111122223333:role/trailkeeper-task"
  organization_id = "o-abcdefghij"
}

run "trust" {
  command = plan

  assert {
    condition = local.template.Resources.Role.Properties.AssumeRolePolicyDocument.Statement == [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::111122223333:root" }
      Action    = "sts:AssumeRole"
      Condition = {
        ArnEquals    = { "aws:PrincipalArn" = tolist(["arn:aws:iam::111122223333:role/trailkeeper-task"]) }
        StringEquals = { "aws:PrincipalOrgID" = "o-abcdefghij", "sts:ExternalId" = "trailkeeper" }
      }
    }]
    error_message = "The task role alone, in this organization, with the external id; by its name, so that it may be made anew."
  }

  assert {
    condition     = local.template.Resources.Role.Properties.RoleName == "trailkeeper-member"
    error_message = "The role has the name that the worker is given."
  }
}

run "trust_in_another_partition" {
  command = plan

  variables {
    task_role_arn = "arn:aws-us-gov:iam::111122223333:role/trailkeeper-task"
  }

  assert {
    condition     = local.template.Resources.Role.Properties.AssumeRolePolicyDocument.Statement[0].Principal.AWS == "arn:aws-us-gov:iam::111122223333:root"
    error_message = "The account is in the partition of its role."
  }
}

run "trust_in_operators" {
  command = plan

  variables {
    operators_role_arn = "arn:aws:iam::111122223333:role/people/trailkeeper-operators"
  }

  assert {
    condition = local.template.Resources.Role.Properties.AssumeRolePolicyDocument.Statement[0].Condition.ArnEquals["aws:PrincipalArn"] == tolist([
      "arn:aws:iam::111122223333:role/trailkeeper-task", "arn:aws:iam::111122223333:role/people/trailkeeper-operators",
    ])
    error_message = "The task role and that of the people who run the check, and no other."
  }
}

run "rights" {
  command = plan

  assert {
    condition = local.template.Resources.Role.Properties.Policies[*].PolicyDocument.Statement == [[
      {
        Sid      = "RestartTrails"
        Effect   = "Allow"
        Action   = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus", "cloudtrail:StartLogging"]
        Resource = [{ "Fn::Sub" = "arn:$${AWS::Partition}:cloudtrail:*:$${AWS::AccountId}:trail/*" }]
      },
      {
        Sid      = "FindTrails"
        Effect   = "Allow"
        Action   = ["cloudtrail:DescribeTrails", "cloudtrail:ListTrails", "cloudtrail:LookupEvents"]
        Resource = "*"
      },
    ]]
    error_message = "To look and to restart, in the account's own trails, and nothing else."
  }
}

# Whatever else the role is given one day, it can stop nothing.
run "never_stops_a_trail" {
  command = plan

  variables {
    organization_trail_arns = ["arn:aws:cloudtrail:us-east-1:999999999999:trail/organization"]
  }

  assert {
    condition = toset(flatten(local.template.Resources.Role.Properties.Policies[*].PolicyDocument.Statement[*].Action)) == toset([
      "cloudtrail:DescribeTrails", "cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus", "cloudtrail:ListTrails",
      "cloudtrail:LookupEvents", "cloudtrail:StartLogging",
    ])
    error_message = "Whatever is not on this list is not given."
  }

  assert {
    condition = !anytrue([
      for call in ["StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors"] :
      anytrue([
        for action in flatten(local.template.Resources.Role.Properties.Policies[*].PolicyDocument.Statement[*].Action) :
        can(regex("^${replace(replace(action, "*", ".*"), "?", ".")}$", "cloudtrail:${call}"))
      ])
    ])
    error_message = "None of these is given, by a wildcard neither."
  }

  assert {
    condition     = keys(local.template.Resources) == ["Role"] && keys(local.template.Resources.Role.Properties) == ["AssumeRolePolicyDocument", "Description", "Policies", "RoleName"]
    error_message = "The role has no other policy, and no other role is made."
  }
}

run "trails_of_the_organization" {
  command = plan

  variables {
    organization_trail_arns = ["arn:aws:cloudtrail:us-east-1:999999999999:trail/organization"]
  }

  assert {
    condition = local.template.Resources.Role.Properties.Policies[0].PolicyDocument.Statement[0].Resource == [
      { "Fn::Sub" = "arn:$${AWS::Partition}:cloudtrail:*:$${AWS::AccountId}:trail/*" },
      "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization",
    ]
    error_message = "The organization's trails by whole ARN, and no other trail of the management account."
  }
}

run "everywhere" {
  command = plan

  variables {
    organizational_unit_ids = ["ou-abcd-12345678"]
  }

  assert {
    condition     = output.stack_set_name == "trailkeeper-member"
    error_message = "With units, it is a stack set."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name                    = "member_role"
    member_role             = { name = "arn:aws:iam::111122223333:role/trailkeeper-member", external_id = "trailkeeper" }
    task_role_arn           = "arn:aws:iam::111122223333:role/*"
    organization_id         = "abcdefghij"
    organization_trail_arns = ["arn:aws:cloudtrail:us-east-1:999999999999:trail/*"]
    call_as                 = "ME"
  }

  expect_failures = [
    var.name, var.member_role, var.task_role_arn, var.organization_id, var.organization_trail_arns, var.call_as,
  ]
}

run "refuses_an_external_id_that_is_too_short" {
  command = plan

  variables {
    member_role = { name = "trailkeeper-member", external_id = "t" }
  }

  expect_failures = [var.member_role]
}

run "refuses_an_external_id_that_is_too_long" {
  command = plan

  variables {
    member_role = { name = "trailkeeper-member", external_id = replace(format("%1225s", ""), " ", "t") }
  }

  expect_failures = [var.member_role]
}

run "takes_the_longest_external_id" {
  command = plan

  variables {
    member_role = { name = "trailkeeper-member", external_id = replace(format("%1224s", ""), " ", "t") }
  }
}

run "refuses_people_without_a_role" {
  command = plan

  variables {
    operators_role_arn = "trailkeeper-operators"
  }

  expect_failures = [var.operators_role_arn]
}

run "refuses_people_of_another_account" {
  command = plan

  variables {
    operators_role_arn = "arn:aws:iam::444455556666:role/trailkeeper-operators"
  }

  expect_failures = [var.operators_role_arn]
}
