output "role_name" {
  description = "The role's name, the same in every account: for worker's member_role_name."
  value       = local.role_name
}

output "stack_set_name" {
  description = "The stack set, if there is one: aws cloudformation list-stack-instances shows how far it got."
  value       = module.rollout.stack_set_name
}
