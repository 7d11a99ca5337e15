output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.worker.name
}

output "service_name" {
  description = "The ECS service."
  value       = aws_ecs_service.worker.name
}

output "min_tasks" {
  description = "Tasks that should always run: fewer are an alarm."
  value       = aws_appautoscaling_target.worker.min_capacity
}

output "sweep_interval_seconds" {
  description = "Between two sweeps, 0 if there are none: two intervals without one are an alarm."
  value       = local.sweep_interval_seconds
}

output "task_role_arn" {
  description = "The role that the worker works with: member roles trust it."
  value       = aws_iam_role.task.arn
}

output "execution_role_arn" {
  description = "The role that reads the secret and pulls the image."
  value       = aws_iam_role.execution.arn
}

output "operators_policy_arn" {
  description = "What the commands check, sweep, replay and dlq need: attach it to the people who operate trailkeeper."
  value       = aws_iam_policy.operators.arn
}

output "log_group_name" {
  description = "Where the worker's lines are."
  value       = aws_cloudwatch_log_group.worker.name
}

output "security_group_id" {
  description = "The tasks' security group: VPC endpoints must let it in."
  value       = aws_security_group.worker.id
}

output "repository_url" {
  description = "Where to push the image, if a repository was asked for."
  value       = one(aws_ecr_repository.worker[*].repository_url)
}

output "environment" {
  description = "The worker's variables, to run it elsewhere with the same."
  value       = local.environment
}
